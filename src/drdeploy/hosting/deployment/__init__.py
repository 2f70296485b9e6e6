"""Host models on SageMaker or the local service with Terraform, and delete them again.

A deployment takes the following steps, each in its own module:

1. ``account`` holds the AWS account and region. It finds the credentials in the same places as
   AWS's own tools.

2. ``variables`` writes down the models and endpoints as Terraform variables. ``architectures``
   refuses an image that is built for another processor than the endpoint's. ``gpu_images`` refuses
   an image that needs a GPU or a driver that the endpoint's host lacks.

3. ``workspace`` is the folder that keeps the variables, the plan and Terraform's state.

4. ``configuration`` copies the ``.tf`` files to the workspace and initialises Terraform. All
   commands of Terraform are run by ``terraform``.

5. ``images`` pushes the container images that AWS lacks, and ``archive_upload`` uploads the model
   archives. ``safeguards`` finds the encryption key and the permissions boundary, if an
   administrator has set them up.

6. ``changes`` reads Terraform's plan. ``approval`` asks the user to approve the plan and its cost
   before the plan is applied.

7. ``provision`` does all steps above, and waits until the endpoints are in service. If it fails,
   its error message lists the resources that exist at that moment. ``orphans`` deletes resources
   that Terraform created, but could not record because it was interrupted.

8. ``teardown`` deletes the deployment, then asks AWS whether any resource is left, and lists what
   is left. Before a deployment is deleted, ``storage`` empties the bucket and the image
   repository.

If a deployment is interrupted, its folder and Terraform's state stay. Repeating the command
continues the deployment. Deleting the deployment deletes everything that was created.
"""
