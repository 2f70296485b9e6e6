"""``drdeploy prices plan`` prices what the real terraform plans, and leaves nothing out."""

import json
from pathlib import Path

import pytest
from terraform import Terraform, model, realtime, serverless
from typer.testing import CliRunner

from drdeploy.cli.prices import app

HERE = Path(__file__).parent
HOURS = 730


@pytest.fixture
def plan_of(provider, tmp_path):
    """``plan_of("foreign-hosting")``: the file that ``terraform show -json`` prints."""

    def planned(terraform: Terraform) -> Path:
        binary = tmp_path / "plan"
        terraform.with_values("plan", f"-out={binary}")
        file = tmp_path / "plan.json"
        file.write_text(terraform.run("show", "-json", str(binary)).stdout)
        return file

    def made(folder: str, **values) -> Path:
        work = tmp_path / "work"
        return planned(Terraform(HERE / folder, work, provider, values).init())

    made.of = planned
    return made


def priced(file: Path, *options: str) -> dict:
    result = CliRunner().invoke(app, ["plan", str(file), "--json", *options])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    document["by_address"] = {one["address"]: one for one in document["resources"]}
    return document


def count_planned(module: dict) -> int:
    children = map(count_planned, module.get("child_modules", ()))
    return len(module.get("resources", ())) + sum(children)


def usd(document: dict) -> tuple[float, float]:
    return tuple(round(one, 2) for one in document["usd_per_month"].values())


def test_the_study_of_2023_is_priced_endpoint_by_endpoint(plan_of):
    file = plan_of("original-study")
    document = priced(file, "--request-s", "0.5", "--request-kb", "0")
    hours = 0.24 + 0.23 + 0.1848 + 0.174
    assert usd(document) == (round(2 * hours * HOURS, 2),) * 2
    serverless_mb = document["by_address"]['aws_sagemaker_endpoint.serverless["vgg19-3072"]']
    assert serverless_mb["request_usd"] == pytest.approx(0.5 * 0.00006)
    planned = json.loads(file.read_text())["planned_values"]["root_module"]
    assert len(document["resources"]) == count_planned(planned)
    assert {one["verdict"] for one in document["resources"]} == {"priced", "free"}
    assert "older than a year" in document["warnings"][0]


def test_hosting_of_others_is_priced_or_named_as_not_known(plan_of):
    file = plan_of("foreign-hosting")
    document = priced(file)
    costs = document["by_address"]
    # 2 x 0.102, 0 to 4 x 0.23 (at night none), and the shadow's 0.7364 an hour.
    split = costs["aws_sagemaker_endpoint.split"]
    lowest, highest = (
        sum(one[f"{limit}_usd"] for one in split["monthly"]) for limit in ("lowest", "highest")
    )
    assert lowest == pytest.approx((2 * 0.102 + 0.7364) * HOURS)
    assert highest == pytest.approx((2 * 0.102 + 4 * 0.23 + 0.7364) * HOURS)
    day = costs['aws_sagemaker_endpoint.serverless["day"]']
    assert day["monthly"][0]["lowest_usd"] == pytest.approx(2 * 0.00001 * HOURS * 3600)
    assert costs["aws_sagemaker_endpoint.queue"]["verdict"] == "partly priced"
    assert "asynchronous ml.m5.xlarge" in costs["aws_sagemaker_endpoint.queue"]["not_known"][0]
    assert "made-by-hand is not in the plan" in str(costs["aws_sagemaker_endpoint.elsewhere"])
    assert costs["terraform_data.note"]["verdict"] == "free"
    assert len(costs) == count_planned(
        json.loads(file.read_text())["planned_values"]["root_module"]
    )


def test_another_region_has_no_prices_and_says_so(plan_of):
    document = priced(plan_of("foreign-hosting", region="eu-central-1"))
    assert usd(document) == (0.0, 0.0)
    split = document["by_address"]["aws_sagemaker_endpoint.split"]
    assert "No price is known for ml.c5.large in eu-central-1" in split["not_known"][0]


def test_the_plan_of_opentofu_is_read_like_terraforms(plan_of, tmp_path):
    file = plan_of("foreign-hosting")
    tofu = tmp_path / "tofu.json"
    text = file.read_text().replace("registry.terraform.io", "registry.opentofu.org")
    tofu.write_bytes(text.encode("utf-16"))  # as Windows PowerShell writes what `>` redirects
    assert priced(tofu)["resources"] == priced(file)["resources"]


def test_the_environment_for_studies_is_priced(environment, plan_of):
    endpoints = {
        "scaled": realtime(
            autoscaling={"min_capacity": 1, "max_capacity": 4, "target_invocations_per_minute": 9}
        ),
        "held": serverless(2048, provisioned_concurrency=1),
        "warm": serverless(keep_warm={"schedules": {"a": {"schedule": "rate(5 minutes)"}}}),
    }
    terraform = environment(
        "study",
        models={"mobilenet": model()},
        endpoints=endpoints,
        allow_always_on=True,
        alarm_email="eyes@example.org",
    )
    document = priced(plan_of.of(terraform))
    # Instances, the alarms that guard their updates, those of their scaling, a dashboard, and a
    # container that is held.
    lowest = 0.23 * HOURS + 0.30 + 0.20 + 3.00 + 26.28
    assert usd(document) == (round(lowest, 2), round(lowest + 3 * 0.23 * HOURS, 2))
    assert {one["verdict"] for one in document["resources"]} == {"priced", "partly priced", "free"}
