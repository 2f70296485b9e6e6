"""Grade an archive of millions of photographs on all processors of a machine or a cluster.

1. ``sources`` lists the photographs of a folder, an S3 prefix or a manifest, one after the other.

2. ``checkpoint`` writes the list to disk, cuts it into shards, and keeps the rows of each finished
   shard as a Parquet file. A killed run continues with the missing shards.

3. ``planning`` grades some photographs to measure the time, and estimates the time of the rest.
   ``costs`` estimates what AWS charges.

4. ``ray_job`` grades the shards with Ray Data, and ``grading`` is the code that its workers run.

5. ``transform_job`` grades the shards with SageMaker Batch Transform instead.

For research use.  Not a medical device.
"""
