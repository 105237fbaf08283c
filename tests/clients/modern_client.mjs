// The TypeScript client of the modern era (@modelcontextprotocol/client 2.x) over Streamable HTTP;
// `mode` is "auto" (discover, else initialize), "legacy", or a revision to insist on.
// What it is told and what it prints: steps.mjs.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { answers, capabilities, failure, headers, job, print, questions, respond, run, stdio } from './steps.mjs';

const logs = [];
const changes = [];
const updates = [];
const words = ['auto', 'legacy'];
const mode = words.includes(job.mode) ? job.mode : { pin: job.mode ?? '2026-07-28' };
const client = new Client({ name: 'modern-test', version: '1' }, { capabilities, versionNegotiation: { mode } });
for (const method of Object.keys(answers)) client.setRequestHandler(method, respond(method));
client.setNotificationHandler('notifications/message', n => void logs.push(n.params));
client.setNotificationHandler('notifications/tools/list_changed', () => void changes.push('tools'));
client.setNotificationHandler('notifications/prompts/list_changed', () => void changes.push('prompts'));
client.setNotificationHandler('notifications/resources/list_changed', () => void changes.push('resources'));
client.setNotificationHandler('notifications/resources/updated', n => void updates.push(n.params.uri));

const extra = {
    call: (params, options) => client.callTool(params, options),
    discover: () => client.discover(),
    subscribe: async s => {
        const { honoredFilter } = await client.listen({ resourceSubscriptions: [s.uri] });
        if (!honoredFilter.resourceSubscriptions?.includes(s.uri)) throw new Error('not honored');
        return true;
    },
    listen: async s => (await client.listen(s.filter)).honoredFilter,
};

try {
    const transport = stdio
        ? new StdioClientTransport(stdio)
        : new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } });
    await client.connect(transport);
    const results = await run(client, { logs, changes, updates, extra });
    const about = {
        version: client.getNegotiatedProtocolVersion(),
        era: client.getProtocolEra(),
        server: client.getServerVersion(),
        capabilities: client.getServerCapabilities(),
        instructions: client.getInstructions() ?? null,
    };
    await client.close();
    print({ ...about, results, questions });
} catch (e) {
    print({ failed: failure(e) });
}
