"""From an image and an archive to a hosted endpoint, and back to nothing.

The stages, in the order that a deployment travels through them:

1. ``account`` is where it goes: AWS, or the local service.  Credentials
   come from the ordinary AWS chain and go nowhere else.
2. ``images`` and ``archives`` push and upload what
   is not there yet, and tell by which digest and version it is there.
3. ``variables`` is what Terraform is told, as data: one model and one
   endpoint configuration for each digest, archive and size.
4. ``workspace`` keeps it in one folder: variables, state, what was shown.
5. ``terraform`` runs the one program that creates and deletes;
   ``configuration`` makes it ready: its files, its provider.
6. ``changes`` reads Terraform's plan, ``cost``
   prices it, and somebody agrees to it (``agreement``) before it is
   applied.
7. ``provision`` leads through all of this, and
   ``leftovers`` names what there is where it ends early;
   ``sweep`` deletes, and verifies by listing what is left.

Interrupted anywhere, the folder and Terraform's state say what there is: the next run of the same
command goes on from it, and a deletion finds it.
"""
