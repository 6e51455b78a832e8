"""The commented configuration that `sekisho edge init` writes."""

STARTER = """\
# Sekisho. Check this file with `sekisho edge check`; every key is told in docs/configuration.md.

# Sign-in happens here, and connectors come to tunnel.{auth_domain}: both names must lead to this
# machine.
auth_domain: {auth_domain}

listen: ["0.0.0.0:443", "[::]:443"]
redirect: ["0.0.0.0:80", "[::]:80"]      # plain HTTP is only sent to https
monitor: 127.0.0.1:9180                  # /metrics /live /ready

# Certificates for {auth_domain} and for every application's host (wildcards do).
# credential:NAME is a file in the folder `credentials` beside this one (chmod 600), which the
# systemd unit hands to the service; a path will do as well, where the service can read it.
certificates:
  - certificate: /etc/sekisho/tls.pem    # the whole chain
    key: credential:tls.key

state: sqlite:////var/lib/sekisho/state.db
master_key_file: credential:master.key   # made by `sekisho edge init`; keep a copy elsewhere

mail:                                    # how one-time PINs are sent
  server: smtps://mail.{domain}:465
  from: Sekisho <access@{domain}>
  # username: sekisho
  # password_file: credential:smtp

identity_providers:
  - {{name: One-time PIN, type: onetimepin}}
  # - name: Company SSO
  #   type: oidc
  #   issuer: https://id.{domain}
  #   client_id: sekisho
  #   client_secret_file: credential:sso
  #   groups_claim: groups

routes:                                  # where host names lead
  - {{hostname: wiki.{domain}, tunnel: office}}   # `sekisho tunnel create office` makes the tunnel
  # - {{hostname: grafana.{domain}, service: "http://10.0.0.7:3000"}}   # or dialled from here

applications:                            # what is protected, and for whom
  - name: Wiki
    domain: wiki.{domain}
    policies:
      - name: Staff
        decision: allow
        include: [{{email_domain: {domain}}}]

# include: ["conf.d/*.yml"]
"""


def starter(auth_domain: str) -> str:
    """Return the text, for an auth domain like login.example.com."""
    return STARTER.format(
        auth_domain=auth_domain, domain=auth_domain.partition(".")[2] or auth_domain
    )
