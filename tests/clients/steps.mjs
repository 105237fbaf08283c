// What both JavaScript clients share: a client is told in JSON what to do, one step after the
// other, and prints one line of JSON that says what came of it.
//
// usage: node CLIENT.mjs '{"url": …, "key": …, "mode": …, "steps": [{"op": "call", …}, …]}'
//
// A step's answer is {"ok": value}, or {"error": {code, message}} when the server or the library
// refused. A call that asks for progress adds the progress it saw, and log messages of its time.

import { setTimeout as sleep } from 'node:timers/promises';

export const job = JSON.parse(process.argv[2]);
// With "command": [PROGRAM, ARGUMENT, …] instead of "url" the client starts the server itself.
export const stdio = job.command && { command: job.command[0], args: job.command.slice(1), env: job.env };
export const headers = job.key ? { Authorization: `Bearer ${job.key}` } : {};

// What the job answers, by method, when the server asks in mid-call; and what was asked. Other
// capabilities than these make are told as they are.
export const answers = job.answers ?? {};
export const questions = [];
export const capabilities = {
    ...('elicitation/create' in answers && { elicitation: { form: {}, url: {} } }),
    ...('sampling/createMessage' in answers && { sampling: {} }),
    ...('roots/list' in answers && { roots: {} }),
    ...job.capabilities,
};
export function respond(method) {
    return request => {
        questions.push({ method, params: request.params ?? {} });
        return answers[method];
    };
}

async function pages(list, member) {
    const all = [];
    let cursor;
    do {
        const page = await list(cursor === undefined ? {} : { cursor });
        all.push(...page[member]);
        cursor = page.nextCursor;
    } while (cursor !== undefined);
    return all;
}

// Runs `begin` with options that collect its progress; stops it when the step says after how many.
async function observed(step, logs, begin) {
    const progress = [];
    const stop = new AbortController();
    const before = logs.length;
    const options = { signal: stop.signal };
    if (step.progress)
        options.onprogress = p => {
            progress.push(p);
            if (step.cancelAfter === progress.length) stop.abort('enough');
        };
    let answer;
    try {
        answer = { ok: await begin(options) };
    } catch (e) {
        answer = failure(e);
    }
    return { ...answer, progress, logs: logs.slice(before) };
}

export function failure(e) {
    return { error: { code: e.code ?? null, message: String(e.message ?? e), data: e.data ?? null } };
}

async function until(condition, seconds = 20) {
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(20))
        if (condition()) return true;
    return false;
}

// `client` is of either library: what they have in common is enough for all that is done here.
export async function run(client, { logs, changes, updates = [], extra = {} }) {
    const ops = {
        tools: () => pages(p => client.listTools(p), 'tools'),
        prompts: () => pages(p => client.listPrompts(p), 'prompts'),
        resources: () => pages(p => client.listResources(p), 'resources'),
        templates: () => pages(p => client.listResourceTemplates(p), 'resourceTemplates'),
        prompt: s => client.getPrompt({ name: s.name, arguments: s.arguments }),
        read: s => client.readResource({ uri: s.uri }),
        complete: s => client.complete({ ref: s.ref, argument: s.argument, ...(s.context && { context: s.context }) }),
        ping: () => client.ping(),
        level: s => client.setLoggingLevel(s.level),
        changed: s => until(() => changes.includes(s.what)),
        updated: async s => {
            if (!(await until(() => updates.includes(s.uri)))) throw new Error(`${s.uri} was not updated`);
            return true;
        },
        logged: s => until(() => logs.some(l => JSON.stringify(l).includes(s.text))),
        ...extra,
    };
    const results = [];
    for (const step of job.steps) {
        if (step.op === 'call') {
            const params = { name: step.name, arguments: step.arguments ?? {}, ...(step.meta && { _meta: step.meta }) };
            results.push(await observed(step, logs, options => extra.call(params, options)));
            continue;
        }
        try {
            results.push({ ok: await ops[step.op](step) });
        } catch (e) {
            results.push(failure(e));
        }
    }
    return results;
}

// Everything that was promised is on stdout, and nothing the library still holds keeps us here.
export function print(result) {
    process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0));
}
