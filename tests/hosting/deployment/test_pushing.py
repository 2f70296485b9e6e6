"""Push and upload: only what is not there, by digest and version; every refusal in words."""

import base64
import hashlib

import pytest
from tiny_models import onnx_artifact

from drdeploy.errors import ArtifactError, EndpointError, EngineError, PushFailed, UploadFailed
from drdeploy.hosting.deployment.archive_upload import upload_model_archive
from drdeploy.hosting.deployment.images import Repository, find_ecr_repository, push_image_to_ecr

DIGEST = "sha256:" + "a" * 64
ID = "sha256:" + "b" * 64
HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
REPOSITORY = Repository("dr/drdeploy", f"{HOST}/dr/drdeploy")
TAG = f"lean-{'b' * 16}"


class FakeEngine:
    """Holds one image and remembers what was pushed where."""

    def __init__(self, refusal=""):
        self.refusal, self.pushed = refusal, []

    def image_id(self, tag):
        return ID

    def push_image(self, image, repository, tag, *, credentials):
        if self.refusal:
            raise EngineError(f"The image cannot be pushed: {self.refusal}")
        self.pushed.append((image, repository, tag, credentials))


def listed(stub, *, found):
    request = {"repositoryName": "dr/drdeploy", "imageIds": [{"imageTag": TAG}]}
    if found:
        stub.add_response("describe_images", {"imageDetails": [{"imageDigest": DIGEST}]}, request)
    else:
        stub.add_client_error("describe_images", "ImageNotFoundException", expected_params=request)


def login(stub):
    token = base64.b64encode(b"AWS:secret").decode()
    data = [{"authorizationToken": token, "proxyEndpoint": f"https://{HOST}"}]
    stub.add_response("get_authorization_token", {"authorizationData": data})


def test_an_image_that_the_registry_lacks_is_pushed_under_its_id(account):
    ecr = account.stub("ecr")
    listed(ecr, found=False)
    login(ecr)
    listed(ecr, found=True)
    engine = FakeEngine()
    pushed = push_image_to_ecr(account, engine, "drdeploy:lean", REPOSITORY)
    assert (pushed.uri, pushed.was_there) == (f"{REPOSITORY.uri}@{DIGEST}", False)
    credentials = {"username": "AWS", "password": "secret"}
    assert engine.pushed == [("drdeploy:lean", f"{HOST}/dr/drdeploy", TAG, credentials)]


def test_an_image_that_is_there_is_not_sent_again(account):
    listed(account.stub("ecr"), found=True)
    engine = FakeEngine()
    pushed = push_image_to_ecr(account, engine, "drdeploy:lean", REPOSITORY)
    assert (pushed.digest, pushed.was_there, engine.pushed) == (DIGEST, True, [])


def test_a_push_that_the_registry_denies_names_the_permissions(account):
    ecr = account.stub("ecr")
    listed(ecr, found=False)
    login(ecr)
    with pytest.raises(PushFailed, match=r"denied: not authorized.*ecr:InitiateLayerUpload") as err:
        push_image_to_ecr(
            account, FakeEngine("denied: not authorized"), "drdeploy:lean", REPOSITORY
        )
    assert "secret" not in str(err.value)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AccessDeniedException", "Use other credentials, or allow the action in the policies"),
        ("ThrottlingException", "Wait a moment"),
        ("ExpiredToken", "Use other credentials, or allow the action in the policies"),
    ],
)
def test_a_refused_listing_says_what_to_do(account, code, remedy):
    account.stub("ecr").add_client_error("describe_images", code, "no")
    with pytest.raises(EndpointError, match=f"{code}.*{remedy}"):
        push_image_to_ecr(account, FakeEngine(), "drdeploy:lean", REPOSITORY)


def test_a_login_that_is_denied_pushes_nothing(account):
    ecr = account.stub("ecr")
    listed(ecr, found=False)
    ecr.add_client_error("get_authorization_token", "AccessDeniedException", "no")
    engine = FakeEngine()
    with pytest.raises(EndpointError, match="log in to the image registry"):
        push_image_to_ecr(account, engine, "drdeploy:lean", REPOSITORY)
    assert engine.pushed == []


def test_a_repository_that_does_not_exist_is_none(account):
    ecr = account.stub("ecr")
    ecr.add_client_error("describe_repositories", "RepositoryNotFoundException")
    assert find_ecr_repository(account, "dr/drdeploy") is None


def test_credentials_that_are_refused_end_everything_at_once(account):
    account.stub("sts").add_client_error("get_caller_identity", "InvalidClientTokenId", "bad")
    with pytest.raises(EndpointError, match="InvalidClientTokenId"):
        account.check_credentials()


def test_an_archive_that_the_bucket_holds_is_not_sent_again(account, tmp_path):
    archive = archive_in(tmp_path)
    s3 = account.stub("s3")
    s3.add_response("head_bucket", {})
    sha256 = sha256_of(archive)
    s3.add_response("head_object", {"Metadata": {"sha256": sha256}, "VersionId": "v7"})
    uploaded = upload_model_archive(account, archive, "models")
    assert (uploaded.version_id, uploaded.was_there) == ("v7", True)
    assert uploaded.uri == f"s3://models/artifacts/{sha256[:16]}/model.tar.gz"


def archive_in(folder):
    onnx_artifact(folder / "tiny")
    return folder / "tiny" / "model.tar.gz"


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_bucket_that_is_not_there_is_named(account, tmp_path):
    account.stub("s3").add_client_error("head_bucket", "404", http_status_code=404)
    with pytest.raises(UploadFailed, match=r"s3://models: The bucket does not exist"):
        upload_model_archive(account, archive_in(tmp_path), "models")


def test_a_bucket_of_another_is_an_error_and_not_a_missing_one(account, tmp_path):
    account.stub("s3").add_client_error("head_bucket", "403", http_status_code=403)
    with pytest.raises(EndpointError, match="look for the bucket"):
        upload_model_archive(account, archive_in(tmp_path), "models")


def test_a_file_that_is_not_an_artifact_is_not_uploaded(account, tmp_path):
    other = tmp_path / "model.tar.gz"
    other.write_bytes(b"no archive")
    with pytest.raises(ArtifactError):
        upload_model_archive(account, other, "models")
