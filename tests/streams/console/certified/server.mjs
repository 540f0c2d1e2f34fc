// A certified OpenID provider on a free port of this machine, until the standard input ends.
//
// Arguments: the folder that holds `oidc-provider`. Each line of the standard input is one object
// that changes what the provider is made of, and is answered by one line with its address:
//   {"clients": [...], "people": {"login": {claim: value}}}   made anew with these
//   {"rotate": "kid"}                                         signs with a new key of this name
//   {"clock": seconds}                                        its clock differs by so much
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { resolve } = createRequire(process.argv[2] + "/");
const { Provider } = await import(pathToFileURL(resolve("oidc-provider")));

const now = Date.now;
let [people, clients, keys, handle] = [{}, [], [], null];

const newKey = (kid) => ({
  ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }),
  kid, use: "sig", alg: "RS256",
});

const server = createServer((request, answer) => handle(request, answer));
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${server.address().port}`;

const make = () => {
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    cookies: { keys: ["kept for the time of a test"] },
    pkce: { required: () => true },
    scopes: ["openid", "profile", "email", "groups"],
    claims: { email: ["email", "email_verified"], groups: ["groups"], profile: ["name"] },
    ttl: { AccessToken: 600, AuthorizationCode: 600, Grant: 600, IdToken: 300, Interaction: 600, Session: 600 },
    findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  });
  handle = provider.callback();
};

for await (const line of createInterface({ input: process.stdin })) {
  const given = JSON.parse(line);
  clients = given.clients ?? clients;
  people = given.people ?? people;
  if (given.rotate || !keys.length) keys = [newKey(given.rotate ?? "first"), ...keys];
  if (given.clock !== undefined) Date.now = () => now() + given.clock * 1000;
  else make();
  process.stdout.write(issuer + "\n");
}
server.close();
server.closeAllConnections();
