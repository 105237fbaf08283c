// SDKs of the time of revisions 2024-11-05 and 2025-03-26, over the transports they had.
//
// usage: node old_client.mjs '{"revision": "r24" | "r03", "transport": "sse" | "http" | "stdio",
//                              "url": …, "key": …, "command": [PROGRAM, ARGUMENT, …], "call": {name, arguments}}'
//
// Prints what was negotiated, the tools' names, the result of the call and the progress that came; with "steps"
// what came of those (steps.mjs).
import { failure, job, print, questions, respond, run } from './steps.mjs';

const sdk = `mcp-sdk-${job.revision}`;
const { Client } = await import(`${sdk}/client/index.js`);
const headers = { Authorization: `Bearer ${job.key}` };

async function open() {
    if (job.transport === 'stdio') {
        const { StdioClientTransport } = await import(`${sdk}/client/stdio.js`);
        const [command, ...args] = job.command;
        return new StdioClientTransport({ command, args, env: { ...process.env, ...job.env }, stderr: 'inherit' });
    }
    if (job.transport === 'http') {
        const { StreamableHTTPClientTransport } = await import(`${sdk}/client/streamableHttp.js`);
        return new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } });
    }
    const { SSEClientTransport } = await import(`${sdk}/client/sse.js`);
    const eventSourceInit = { fetch: (url, init) => fetch(url, { ...init, headers: { ...init?.headers, ...headers } }) };
    return new SSEClientTransport(new URL(job.url), { eventSourceInit, requestInit: { headers } });
}

const messages = [];
const transport = await open();
const types = await import(`${sdk}/types.js`);
const { CreateMessageRequestSchema } = types;
const capabilities = { sampling: {}, ...(job.steps && 'roots/list' in job.answers && { roots: {} }) };
const client = new Client({ name: 'old-test', version: '1' }, { capabilities });

// All that the other clients do, as far as this SDK knows it.
async function perform() {
    const logs = [], changes = [], updates = [];
    client.setRequestHandler(CreateMessageRequestSchema, respond('sampling/createMessage'));
    client.setRequestHandler(types.ListRootsRequestSchema, respond('roots/list'));
    client.setNotificationHandler(types.LoggingMessageNotificationSchema, n => void logs.push(n.params));
    client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, n => void updates.push(n.params.uri));
    const extra = {
        call: (params, options) => client.callTool(params, undefined, options),
        subscribe: s => client.subscribeResource({ uri: s.uri }),
    };
    const results = await run(client, { logs, changes, updates, extra });
    print({ version: messages[0].params.protocolVersion, server: client.getServerVersion(), results, questions });
}

client.setRequestHandler(CreateMessageRequestSchema, () => ({
    role: 'assistant', model: 'none', content: { type: 'text', text: 'said by an old client' } }));
const send = transport.send.bind(transport);
transport.send = (message, options) => { messages.push(message); return send(message, options); };
await client.connect(transport);
if (job.steps) await perform().catch(e => print({ failed: failure(e) }));
const progress = [];
const out = { server: client.getServerVersion(), tools: (await client.listTools()).tools.map(t => t.name) };
out.offered = messages[0].params.protocolVersion;
if (job.call) out.result = await client.callTool(job.call, undefined, { onprogress: p => progress.push(p.progress) });
if (job.call && job.ask) out.asked = await client.callTool(job.ask);
console.log(JSON.stringify({ ...out, progress }));
await client.close();
