"""Batch Transform: a job reads objects from S3, sends them to instances, and writes the answers.

The work of a job is divided among these modules:

1. ``object_list`` finds the input objects and the keys of the output.
2. ``records`` splits an object into records, and packs the records into payloads.
3. ``data_processing`` filters what the model receives, and joins input and answers; it evaluates
   filters with ``json_path``.
4. ``instance_work`` sends the payloads to one instance, and writes the output of an object when the
   model has answered all payloads of the object.
5. ``job`` starts the instances, shares the objects among them, and stops the instances.

``settings`` chooses how a job packs and sends its records, for example the largest payload.
"""
