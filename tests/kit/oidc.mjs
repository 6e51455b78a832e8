// A certified OpenID provider for the tests. Parameters in the environment: PORT, ISSUER, CLIENTS (JSON), USERS (JSON), CONFORM,
// MODULES (folder with node_modules). Signing in takes any password: the login name is the account.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.MODULES}/package.json`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));
const port = Number(process.env.PORT);
const issuer = process.env.ISSUER ?? `http://127.0.0.1:${port}`;
const users = JSON.parse(process.env.USERS);

const provider = new Provider(issuer, {
  clients: JSON.parse(process.env.CLIENTS),
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email_verified: true, ...(users[id] ?? { email: `${id}@example.com`, groups: [] }) }),
  }),
  claims: {
    openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'], profile: ['name', 'department'],
  },
  scopes: ['openid', 'offline_access', 'email', 'groups', 'profile'],
  pkce: { required: () => true },
  conformIdTokenClaims: process.env.CONFORM === '1', // 1: claims at the userinfo endpoint only
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  cookies: { keys: ['only-for-tests'] },
});
provider.listen(port, '127.0.0.1', () => console.log('ready', issuer));
