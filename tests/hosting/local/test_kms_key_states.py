"""A KMS key that is disabled, or will be deleted, is refused with the errors of KMS."""

import pytest
from botocore.exceptions import ClientError
from local_aws import client

ASYMMETRIC = {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}
SIGNING = {"Message": b"m", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}


@pytest.fixture
def kms(aws):
    return client("kms", aws.url)


def make_key(kms, state, **settings):
    """Return the ARN of a new key with a ciphertext, in a state."""
    metadata = kms.create_key(**settings)["KeyMetadata"]
    arn = metadata["Arn"]
    text = None if settings else kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
    if state == "Disabled":
        kms.disable_key(KeyId=arn)
    if state == "PendingDeletion":
        kms.schedule_key_deletion(KeyId=arn)
    return arn, text


def error_of(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return response["Error"]["Code"], response["Error"]["Message"]


@pytest.mark.parametrize(
    ("state", "code", "sentence"),
    [
        ("Disabled", "DisabledException", "is disabled."),
        ("PendingDeletion", "KMSInvalidStateException", "is pending deletion."),
    ],
)
def test_a_key_that_is_not_enabled_does_no_work(kms, state, code, sentence):
    arn, text = make_key(kms, state)
    expected = (code, f"{arn} {sentence}")
    assert error_of(kms.encrypt, KeyId=arn, Plaintext=b"x") == expected
    assert error_of(kms.generate_data_key, KeyId=arn, KeySpec="AES_256") == expected
    assert error_of(kms.decrypt, CiphertextBlob=text) == expected
    other, foreign = make_key(kms, "Enabled")
    into, out = kms.re_encrypt, {"CiphertextBlob": text, "DestinationKeyId": other}
    assert error_of(into, **out) == expected
    assert error_of(into, CiphertextBlob=foreign, DestinationKeyId=arn) == expected
    signer, _ = make_key(kms, state, **ASYMMETRIC)
    assert error_of(kms.sign, KeyId=signer, **SIGNING) == (code, f"{signer} {sentence}")
    kms.create_alias(AliasName=f"alias/{arn[-36:]}", TargetKeyId=other)
    assert kms.encrypt(KeyId=f"alias/{arn[-36:]}", Plaintext=b"x")["KeyId"] == other


def test_an_alias_of_a_disabled_key_encrypts_nothing(kms):
    arn, _ = make_key(kms, "Enabled")
    alias = f"alias/{arn[-36:]}"
    kms.create_alias(AliasName=alias, TargetKeyId=arn)
    kms.disable_key(KeyId=arn)
    assert error_of(kms.encrypt, KeyId=alias, Plaintext=b"x")[0] == "DisabledException"


def test_a_key_that_will_be_deleted_is_neither_enabled_nor_changed(kms):
    arn, _ = make_key(kms, "PendingDeletion")
    expected = ("KMSInvalidStateException", f"{arn} is pending deletion.")
    assert error_of(kms.enable_key, KeyId=arn) == expected
    assert error_of(kms.schedule_key_deletion, KeyId=arn) == expected
    assert error_of(kms.create_alias, AliasName="alias/late", TargetKeyId=arn) == expected
    assert kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    kms.cancel_key_deletion(KeyId=arn)
    kms.enable_key(KeyId=arn)
    assert kms.encrypt(KeyId=arn, Plaintext=b"x")["KeyId"] == arn


def test_only_a_scheduled_deletion_can_be_cancelled(kms):
    arn, _ = make_key(kms, "Enabled")
    refused = error_of(kms.cancel_key_deletion, KeyId=arn)
    assert refused == ("KMSInvalidStateException", f"{arn} is not pending deletion.")


def test_a_key_that_does_not_exist_is_still_not_found(kms):
    absent = "00000000-0000-0000-0000-000000000000"
    assert error_of(kms.encrypt, KeyId=absent, Plaintext=b"x")[0] == "NotFoundException"
