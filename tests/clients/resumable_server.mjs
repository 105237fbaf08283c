// A server of the TypeScript SDK 1.x with an event store: node resumable_server.mjs PORT
// It asks on the stream of the session, closes streams of calls on its own (SEP-1699 polling), and POST /cut with
// {"after": N} destroys every connection that carries a call's events once N of them were written on it.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { InMemoryEventStore } from '@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import * as z from 'zod';

const sessions = new Map();
const runs = {};
let cuts = 0;
let after; // events until a connection is cut; undefined: never

const text = said => ({ content: [{ type: 'text', text: said }] });

function make() {
    const mcp = new McpServer({ name: 'resumable', version: '1.0.0' }, { capabilities: { logging: {} } });
    const count = name => (runs[name] = (runs[name] ?? 0) + 1);
    mcp.registerTool('steps', { inputSchema: { name: z.string(), steps: z.number() } }, async ({ name, steps }, extra) => {
        count(name);
        for (let i = 1; i <= steps; i++) {
            await extra.sendNotification({
                method: 'notifications/progress',
                params: { progressToken: extra._meta.progressToken, progress: i, total: steps },
            });
            await sleep(20);
        }
        return text(`${name} ran ${runs[name]}`);
    });
    mcp.registerTool('polls', { inputSchema: { name: z.string(), closes: z.number() } }, async ({ name, closes }, extra) => {
        count(name);
        for (let i = 0; i < closes; i++) {
            extra.closeSSEStream();
            await sleep(250);
        }
        return text(`${name} ran ${runs[name]}`);
    });
    mcp.registerTool('asks', { inputSchema: { name: z.string(), rounds: z.number() } }, async ({ name, rounds }) => {
        const said = [];
        count(name);
        for (let i = 0; i < rounds; i++) {
            const answer = await mcp.server.elicitInput({
                message: 'Who is it?',
                requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
            });
            said.push(answer.action === 'accept' ? answer.content.name : answer.action);
        }
        return text(`${name} ran ${runs[name]}: ${said.join(' ')}`);
    });
    mcp.registerTool('model', {}, async () => {
        const answer = await mcp.server.createMessage({
            messages: [{ role: 'user', content: { type: 'text', text: '2+2' } }], maxTokens: 5 });
        return text(answer.content.text);
    });
    mcp.registerTool('roots', {}, async () => text((await mcp.server.listRoots()).roots.map(r => r.uri).join(' ')));
    return mcp;
}

async function transport(request) {
    const known = sessions.get(request.headers['mcp-session-id']);
    if (known || request.headers['mcp-session-id']) return known;
    const fresh = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(), eventStore: new InMemoryEventStore(), retryInterval: 100,
        onsessioninitialized: id => sessions.set(id, fresh),
    });
    await make().connect(fresh);
    return fresh;
}

// Cuts what carries a call: its own answer, and what resumes it; not the stream of the session.
function watch(request, response, message) {
    const carries = message?.method === 'tools/call' || request.headers['last-event-id'];
    const write = response.write.bind(response);
    let events = 0;
    if (!carries) return;
    response.write = (data, ...rest) => {
        const done = write(data, ...rest);
        events += (Buffer.from(data).toString().match(/\n\n/g) ?? []).length;
        if (after !== undefined && events >= after && !response.destroyed) {
            cuts++;
            setImmediate(() => response.destroy());
        }
        return done;
    };
}

createServer(async (request, response) => {
    let body = '';
    for await (const piece of request) body += piece;
    const message = body ? JSON.parse(body) : undefined;
    if (request.url === '/cut') {
        after = message.after;
        response.end(JSON.stringify({ cuts }));
        return;
    }
    watch(request, response, message);
    const to = await transport(request);
    if (to) await to.handleRequest(request, response, message);
    else response.writeHead(404).end();
}).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
