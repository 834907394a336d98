// Evaluates, in one process, every [text, device, update] of the JSON on standard input; prints true or false for each as JSON.
// Flat names are the device's, those that it has not are undefined: `with` over a proxy that has them all.
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const results = cases.map(([text, device, update]) => {
    const names = { ...device, device, update, newVersion: update.version };
    const scope = new Proxy(names, { has: (_, key) => typeof key === 'string', get: (all, key) => all[key] });
    return !!new Function('scope', 'with (scope) { return (' + text + '\n); }')(scope);
});
console.log(JSON.stringify(results));
