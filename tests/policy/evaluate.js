// Evaluates every [text, device, update] of the JSON on standard input; prints the results as a JSON list of booleans.
// Flat names are properties of the device, or undefined: the proxy, used with `with`, claims to have every name.
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const results = cases.map(([text, device, update]) => {
    const names = { ...device, device, update, newVersion: update.version };
    const scope = new Proxy(names, { has: (_, key) => typeof key === 'string', get: (all, key) => all[key] });
    return !!new Function('scope', 'with (scope) { return (' + text + '\n); }')(scope);
});
console.log(JSON.stringify(results));
