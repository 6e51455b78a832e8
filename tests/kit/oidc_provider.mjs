// The OpenID provider of the tests: panva's oidc-provider with two people. Settings come by environment.
import Provider from 'oidc-provider';
const port = +process.env.PORT, issuer = `http://127.0.0.1:${port}`;
const people = {
  taro: { email: 'taro@example.jp', email_verified: true, groups: ['eng', 'admins'], department: 'R&D', name: '山田 太郎' },
  hanako: { email: 'hanako@example.jp', email_verified: true, groups: ['sales'] },
  unverified: { email: 'ceo@example.jp', email_verified: false, groups: [] },
  crowd: { email: 'crowd@example.jp', email_verified: true, groups: Array.from({ length: 4000 }, (_, i) => `group-number-${i}-of-many`) },
  split: { email: 'split@example.jp', email_verified: true, groups: ['a\r\nX-Evil: 1'] },
};
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'edge', client_secret: 'edge-secret-edge-secret-edge-secret',
    redirect_uris: [process.env.REDIRECT_URI], grant_types: ['authorization_code'], response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
  }],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...(people[id] || { email: `${id}@example.jp`, email_verified: true, groups: [] }) }) }),
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'department'], groups: ['groups'] },
  scopes: ['openid', 'email', 'profile', 'groups'],
  pkce: { required: () => true },
  conformIdTokenClaims: process.env.CONFORM === '1',   // 1: claims only at the userinfo endpoint
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ['test-key'] },
});
provider.listen(port, '127.0.0.1', () => console.log('up'));
