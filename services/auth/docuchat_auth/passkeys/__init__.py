"""Passkeys: signing in with what an authenticator signs (WebAuthn, https://www.w3.org/TR/webauthn-3/)."""
