"""From an image and an archive to a hosted endpoint, and back to nothing.

The stages, in the order that a deployment travels through them:

1. :mod:`~drdeploy.deployment.account` is where it goes: AWS, or the local service.  Credentials
   come from the ordinary AWS chain and go nowhere else.
2. :mod:`~drdeploy.deployment.images` and :mod:`~drdeploy.deployment.archives` push and upload what
   is not there yet, and tell by which digest and version it is there.
3. :mod:`~drdeploy.deployment.variables` is what Terraform is told, as data: one model and one
   endpoint configuration for each digest, archive and size.
4. :mod:`~drdeploy.deployment.workspace` keeps it in one folder: variables, state, what was shown.
5. :mod:`~drdeploy.deployment.terraform` runs the one program that creates and deletes;
   :mod:`~drdeploy.deployment.provider` finds its provider.
6. :mod:`~drdeploy.deployment.changes` reads Terraform's plan, :mod:`~drdeploy.deployment.cost`
   prices it, and somebody agrees to it (:mod:`~drdeploy.deployment.agreement`) before it is
   applied.
7. :mod:`~drdeploy.deployment.provision` leads through all of this, and
   :mod:`~drdeploy.deployment.leftovers` names what there is where it ends early;
   :mod:`~drdeploy.deployment.sweep` deletes, and verifies by listing what is left.

Interrupted anywhere, the folder and Terraform's state say what there is: the next run of the same
command goes on from it, and a deletion finds it.
"""
