// A server with an app (MCP Apps, extension io.modelcontextprotocol/ui), its tools and resources as
// @modelcontextprotocol/ext-apps writes them: node apps_server.mjs PORT (TypeScript SDK 2.x over
// HTTP, both eras) or node apps_server.mjs stdio (SDK 1.x, legacy).
import { createServer } from 'node:http';
import * as z from 'zod';

const ui = 'io.modelcontextprotocol/ui';
const type = 'text/html;profile=mcp-app';
const uri = 'ui://chart/view.html';
const csp = { ui: { csp: { resourceDomains: ['https://cdn.example.com'] }, prefersBorder: true } };

// `told` is what the client of a call declared.
function fill(server, told, name) {
    server.registerTool(
        'chart',
        { description: 'A chart', inputSchema: z.object({}),
          _meta: { ui: { resourceUri: uri }, 'ui/resourceUri': uri } },
        async (_, ctx) => ({
            content: [{ type: 'text', text: told(ctx)?.extensions?.[ui]?.mimeTypes?.includes(type) ? 'shown' : 'in words' }],
            structuredContent: { points: [1, 2] },
        }));
    server.registerResource('view', uri, { mimeType: type, _meta: csp }, async asked => ({
        contents: [{ uri: asked.href, mimeType: type, text: `<h1>${name}</h1>`, _meta: csp }],
    }));
    return server;
}

if (process.argv[2] === 'stdio') {
    const { McpServer } = await import('@modelcontextprotocol/sdk/server/mcp.js');
    const { StdioServerTransport } = await import('@modelcontextprotocol/sdk/server/stdio.js');
    const server = new McpServer({ name: 'apps', version: '1' });
    fill(server, () => server.server.getClientCapabilities(), 'of 1.x');
    await server.connect(new StdioServerTransport());
} else {
    const { createMcpHandler, McpServer } = await import('@modelcontextprotocol/server');
    const { toNodeHandler } = await import('@modelcontextprotocol/node');
    const handle = toNodeHandler(createMcpHandler(() => {
        const server = new McpServer({ name: 'apps', version: '2' });
        return fill(server, () => server.server.getClientCapabilities(), 'of 2.x');
    }));
    createServer((req, res) => handle(req, res)).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
}
