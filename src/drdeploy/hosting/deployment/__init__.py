"""Host models on SageMaker, or on the local service, through Terraform; and delete all of it again.

The steps of a deployment, in their order, each with the module that takes it:

1. ``account``: where the deployment goes.  Credentials come from the ordinary AWS chain.
2. ``desired``: which models and endpoints it shall have; ``architectures`` refuses an image that
   its instance cannot run.
3. ``workspace``: one folder keeps the variables, the plan and Terraform's state.
4. ``configuration``: the ``.tf`` files are copied there and Terraform is initialised;
   ``terraform`` runs it.
5. ``images`` and ``archives``: push and upload what AWS does not hold yet, by digest and version.
   ``placeholder`` pushes for a local service that has no container engine.
6. ``variables``: what Terraform gets to know, with those digests.
7. ``changes`` reads Terraform's plan, ``cost`` prices it, and an ``approval`` is asked for before
   anything is applied.
8. ``provision`` takes all of these steps and waits until the endpoints are in service.
   ``leftovers`` adds to every error what exists by then.
9. ``teardown`` deletes, and lists what AWS still holds; ``state`` reads what Terraform created.

A deployment that is interrupted anywhere leaves its folder and its state behind.  The same command
goes on from there, and a deletion finds everything that was created.
"""
