// The life of an endpoint through the AWS SDK for JavaScript, version 3.
import {
  AddTagsCommand,
  CreateEndpointCommand,
  CreateEndpointConfigCommand,
  CreateModelCommand,
  DeleteEndpointCommand,
  DeleteEndpointConfigCommand,
  DeleteModelCommand,
  DescribeEndpointCommand,
  ListTagsCommand,
  SageMakerClient,
  paginateListEndpoints,
  paginateListModels,
  UpdateEndpointCommand,
  waitUntilEndpointDeleted,
  waitUntilEndpointInService,
} from "@aws-sdk/client-sagemaker";
import {
  InvokeEndpointCommand,
  ModelError,
  SageMakerRuntimeClient,
} from "@aws-sdk/client-sagemaker-runtime";

const done = {};
const name = "js-endpoint";
const client = new SageMakerClient({});
const runtime = new SageMakerRuntimeClient({});
const patience = { client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 };
const read = (answer) => JSON.parse(Buffer.from(answer.Body).toString());

await client.send(
  new CreateModelCommand({
    ModelName: name,
    ExecutionRoleArn: process.env.ROLE_ARN,
    PrimaryContainer: { Image: "drdeploy:lean", ModelDataUrl: process.env.MODEL_DATA_URL },
  }),
);
for (const memory of [1024, 2048]) {
  await client.send(
    new CreateEndpointConfigCommand({
      EndpointConfigName: `${name}-${memory}`,
      ProductionVariants: [
        {
          VariantName: "AllTraffic",
          ModelName: name,
          ServerlessConfig: { MemorySizeInMB: memory, MaxConcurrency: 2 },
        },
      ],
    }),
  );
}
const { EndpointArn } = await client.send(
  new CreateEndpointCommand({ EndpointName: name, EndpointConfigName: `${name}-1024` }),
);
done.waited = (await waitUntilEndpointInService(patience, { EndpointName: name })).state;
const photograph = new Uint8Array([0xff, 0xd8, 0xff, 1]);
let answer = read(
  await runtime.send(
    new InvokeEndpointCommand({ EndpointName: name, Body: photograph, ContentType: "image/jpeg" }),
  ),
);
done.jpeg = [answer.headers["content-type"], answer.length];
answer = await runtime.send(
  new InvokeEndpointCommand({
    EndpointName: name,
    Body: JSON.stringify({ instances: [[0.5]] }),
    ContentType: "application/json",
    Accept: "application/json",
    CustomAttributes: "b=2",
  }),
);
done.json = [read(answer).headers["accept"], answer.CustomAttributes, answer.InvokedProductionVariant];
await client.send(
  new AddTagsCommand({ ResourceArn: EndpointArn, Tags: [{ Key: "clinic", Value: "north" }] }),
);
const tags = (await client.send(new ListTagsCommand({ ResourceArn: EndpointArn }))).Tags;
done.tagged = tags.some((tag) => tag.Key === "clinic" && tag.Value === "north");
await client.send(
  new UpdateEndpointCommand({ EndpointName: name, EndpointConfigName: `${name}-2048` }),
);
await waitUntilEndpointInService(patience, { EndpointName: name });
const described = await client.send(new DescribeEndpointCommand({ EndpointName: name }));
done["updated to"] = described.EndpointConfigName;
done.created = described.CreationTime instanceof Date;
done.listed = [];
for await (const page of paginateListEndpoints({ client, pageSize: 1 }, { NameContains: "js-" })) {
  done.listed.push(...page.Endpoints.map((one) => one.EndpointName));
}
try {
  await runtime.send(new InvokeEndpointCommand({ EndpointName: name, Body: "!status 415" }));
} catch (error) {
  done["model error"] = [error instanceof ModelError, error.name, error.OriginalStatusCode];
}
try {
  await client.send(new DescribeEndpointCommand({ EndpointName: "js-nowhere" }));
} catch (error) {
  done["no endpoint"] = error.name;
}
await client.send(new DeleteEndpointCommand({ EndpointName: name }));
done.deleted = (await waitUntilEndpointDeleted(patience, { EndpointName: name })).state;
for (const memory of [1024, 2048]) {
  await client.send(
    new DeleteEndpointConfigCommand({ EndpointConfigName: `${name}-${memory}` }),
  );
}
await client.send(new DeleteModelCommand({ ModelName: name }));
done.left = 0;
for await (const page of paginateListModels({ client }, { NameContains: "js-" })) {
  done.left += page.Models.length;
}
console.log(JSON.stringify(done));
