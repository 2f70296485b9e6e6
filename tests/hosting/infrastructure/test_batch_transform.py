"""The module batch-transform on the local service: its bucket and its role run a job."""

from terraform import INFRASTRUCTURE, Terraform

from drdeploy.hosting.sagemaker import BatchJob, BatchTransform


def test_the_role_runs_jobs_of_its_bucket_and_no_others(aws, provider, tmp_path):
    values = {
        "name": "dr-batch",
        "bucket_name": "dr-batch",
        "repository_arns": ["arn:aws:ecr:us-east-1:123456789012:repository/dr/drdeploy"],
        "force_destroy": True,
    }
    folder = INFRASTRUCTURE / "modules" / "batch-transform"
    terraform = Terraform(folder, tmp_path, provider, values).init()
    made = terraform.apply()
    try:
        archive = aws.s3.get_object(Bucket="models", Key=aws.put_archive().rpartition("/")[2])
        body = archive["Body"].read()
        aws.s3.put_object(Bucket="dr-batch", Key="artifacts/model.tar.gz", Body=body)
        aws.s3.put_object(Bucket="dr-batch", Key="batch/in/1", Body=b"eye")
        batch = BatchTransform.connect(aws.url)

        def run(name, output_uri):
            return batch.run_job(
                BatchJob(
                    name,
                    "drdeploy:lean",
                    "s3://dr-batch/artifacts/model.tar.gz",
                    "s3://dr-batch/batch/in/",
                    output_uri,
                    role_arn=made["role_arn"],
                )
            )

        assert made["bucket_name"] == "dr-batch"
        assert run("allowed", "s3://dr-batch/batch/out").status == "Completed"
        refused = run("refused", "s3://models/out")
        assert refused.status == "Failed"
        assert "does not have s3:PutObject permission" in refused.failure_reason
        planned = terraform.with_values("plan", "-detailed-exitcode", check=False)
        assert planned.returncode == 0, planned.stdout
    finally:
        terraform.destroy()
