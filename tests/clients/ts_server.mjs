// A server made with the TypeScript SDK 2.x, served over HTTP in both eras: node ts_server.mjs PORT
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { completable, createMcpHandler, inputRequired, McpServer, ResourceTemplate } from '@modelcontextprotocol/server';
import { toNodeHandler } from '@modelcontextprotocol/node';
import * as z from 'zod';

const languages = ['c', 'cobol', 'python', 'typescript'];

function make() {
    const server = new McpServer(
        { name: 'ts-fixture', version: '1.0.0' },
        { instructions: 'Multiply with the TypeScript server.', capabilities: { logging: {}, resources: { subscribe: true } } });
    server.registerTool(
        'multiply',
        {
            description: 'Two numbers to their product',
            inputSchema: z.object({ a: z.number(), b: z.number() }),
            outputSchema: z.object({ product: z.number() }),
            annotations: { readOnlyHint: true },
        },
        async ({ a, b }) => ({
            content: [{ type: 'text', text: String(a * b) }],
            structuredContent: { product: a * b },
        }));
    server.registerTool(
        'stepwise',
        { description: 'Reports progress and logs', inputSchema: z.object({ steps: z.number(), pause: z.number() }) },
        async ({ steps, pause }, ctx) => {
            const token = ctx.mcpReq._meta?.progressToken;
            for (let i = 1; i <= steps && !ctx.mcpReq.signal.aborted; i++) {
                if (token !== undefined)
                    await ctx.mcpReq.notify({
                        method: 'notifications/progress',
                        params: { progressToken: token, progress: i, total: steps },
                    });
                await sleep(pause);
            }
            await ctx.mcpReq.log('warning', 'all steps done', 'stepper');
            return { content: [{ type: 'text', text: `${steps} steps` }] };
        });
    server.registerTool(
        'region_echo',
        {
            description: 'Its region travels as a header too',
            inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }),
        },
        async ({ region }) => ({ content: [{ type: 'text', text: region }] }));
    server.registerTool(
        'greet_user',
        { description: 'Asks for a name in mid-call', inputSchema: z.object({ greeting: z.string() }) },
        async ({ greeting }, ctx) => {
            const name = ctx.mcpReq.inputResponses?.name;
            if (name?.action === 'accept')
                return { content: [{ type: 'text', text: `${greeting}, ${name.content.name}!` }] };
            if (name) return { content: [{ type: 'text', text: `${greeting}, whoever you are.` }] };
            return inputRequired({
                inputRequests: {
                    name: inputRequired.elicit({
                        message: 'Who is it?',
                        requestedSchema: {
                            type: 'object', properties: { name: { type: 'string' } }, required: ['name'],
                        },
                    }),
                },
            });
        });
    const questions = {
        sampling: () => inputRequired.createMessage({
            messages: [{ role: 'user', content: { type: 'text', text: '2 + 2?' } }], maxTokens: 5 }),
        roots: () => inputRequired.listRoots(),
    };
    for (const [kind, question] of Object.entries(questions))
        server.registerTool(
            `ask_${kind}`, { description: `Asks for ${kind} in mid-call`, inputSchema: z.object({}) },
            async (_, ctx) => {
                const answer = ctx.mcpReq.inputResponses?.it;
                if (answer) return { content: [{ type: 'text', text: JSON.stringify(answer) }] };
                return inputRequired({ inputRequests: { it: question() } });
            });
    server.registerTool(
        'touch', { description: 'Says that the motto has changed', inputSchema: z.object({}) },
        async () => {
            handler.notify.resourceUpdated('ts://motto');
            return { content: [{ type: 'text', text: 'touched' }] };
        });
    server.registerPrompt(
        'review',
        {
            description: 'Ask for a review',
            argsSchema: z.object({
                language: completable(z.string(), v => languages.filter(l => l.startsWith(v))),
            }),
        },
        ({ language }) => ({
            messages: [{ role: 'user', content: { type: 'text', text: `Review this ${language} code.` } }],
        }));
    server.registerResource('motto', 'ts://motto', { mimeType: 'text/plain' }, async uri => ({
        contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'types first' }],
    }));
    server.registerResource(
        'square', new ResourceTemplate('ts://square/{n}', { list: undefined }), { mimeType: 'text/plain' },
        async (uri, { n }) => ({ contents: [{ uri: uri.href, mimeType: 'text/plain', text: String(n * n) }] }));
    return server;
}

const handler = createMcpHandler(make);
const handle = toNodeHandler(handler);
createServer((req, res) => handle(req, res)).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
