"""Host models on SageMaker or the local service with Terraform, and delete them again.

A deployment takes the following steps, each in its own module:

1. ``account`` holds the AWS account and region, and finds the credentials where AWS's own tools
   find them.

2. ``variables`` describes the models and endpoints to Terraform. ``architectures`` refuses an image
   that its instance cannot run.

3. ``workspace`` is the folder that keeps the variables, the plan and Terraform's state.

4. ``configuration`` copies the ``.tf`` files to the workspace and initialises Terraform, which
   ``terraform`` runs.

5. ``images`` pushes the container images that AWS lacks, and ``archive_upload`` uploads the model
   archives. ``safeguards`` finds the encryption key and the permissions boundary that an
   administrator prescribes.

6. ``changes`` reads Terraform's plan. ``approval`` asks the user to approve the plan and its cost
   before the plan is applied.

7. ``provision`` takes all steps above, and waits until the endpoints are in service.  Every error
   message lists the resources that exist at that moment.  ``orphans`` deletes resources that an
   interrupted Terraform created but could not record.

8. ``teardown`` deletes the deployment, and lists resources that AWS still holds. Before a
   deployment is deleted, ``storage`` empties the bucket and the image repository.

An interrupted deployment keeps its folder and its state. Repeating the interrupted command
continues the deployment, and a deletion finds all created resources.
"""
