// The TypeScript SDK of the legacy era (@modelcontextprotocol/sdk 1.x) over Streamable HTTP.
// What it is told and what it prints: steps.mjs.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema,
    ElicitRequestSchema,
    ListRootsRequestSchema,
    LoggingMessageNotificationSchema,
    PromptListChangedNotificationSchema,
    ResourceListChangedNotificationSchema,
    ResourceUpdatedNotificationSchema,
    ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { answers, capabilities, failure, headers, job, print, questions, respond, run, stdio } from './steps.mjs';

const logs = [];
const changes = [];
const updates = [];
const client = new Client({ name: 'legacy-test', version: '1' }, { capabilities });
const asked = {
    'elicitation/create': ElicitRequestSchema,
    'sampling/createMessage': CreateMessageRequestSchema,
    'roots/list': ListRootsRequestSchema,
};
for (const method of Object.keys(answers)) client.setRequestHandler(asked[method], respond(method));
client.setNotificationHandler(LoggingMessageNotificationSchema, n => void logs.push(n.params));
client.setNotificationHandler(ToolListChangedNotificationSchema, () => void changes.push('tools'));
client.setNotificationHandler(PromptListChangedNotificationSchema, () => void changes.push('prompts'));
client.setNotificationHandler(ResourceListChangedNotificationSchema, () => void changes.push('resources'));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, n => void updates.push(n.params.uri));

// Its result, and the states that it went through.
async function runTask({ name, arguments: given }) {
    const states = [];
    for await (const m of client.experimental.tasks.callToolStream({ name, arguments: given }, undefined, { task: {} })) {
        if (m.task) states.push(m.task.status);
        if (m.type === 'error') throw m.error;
        if (m.type === 'result') return { ...m.result, states };
    }
    throw new Error('the task ended without a result');
}

const transport = stdio
    ? new StdioClientTransport(stdio)
    : new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } });
try {
    await client.connect(transport);
    const results = await run(client, {
        logs,
        changes,
        updates,
        extra: {
            call: (params, options) => client.callTool(params, undefined, options),
            subscribe: s => client.subscribeResource({ uri: s.uri }),
            task: runTask,
        },
    });
    const about = {
        version: transport.protocolVersion ?? null,
        session: transport.sessionId ?? null,
        server: client.getServerVersion(),
        capabilities: client.getServerCapabilities(),
        instructions: client.getInstructions() ?? null,
    };
    if (!stdio) await transport.terminateSession();
    await client.close();
    print({ ...about, results, questions });
} catch (e) {
    print({ failed: failure(e) });
}
