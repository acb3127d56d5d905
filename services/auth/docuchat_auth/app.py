"""The HTTP application."""

from fastapi import FastAPI

from docuchat_auth.api_keys.routes import inside as api_keys_inside
from docuchat_auth.api_keys.routes import router as api_keys
from docuchat_auth.audit.routes import operator as operator_audit
from docuchat_auth.audit.routes import router as audit
from docuchat_auth.bootstrap import open_container
from docuchat_auth.chatbots.routes import inside as chatbots_inside
from docuchat_auth.chatbots.routes import router as chatbots
from docuchat_auth.codes.routes import router as codes
from docuchat_auth.domains.routes import router as domains
from docuchat_auth.federated_logins.routes import callback as provider_callback
from docuchat_auth.federated_logins.routes import router as federated_logins
from docuchat_auth.groups.routes import router as groups
from docuchat_auth.identity_providers.routes import router as identity_providers
from docuchat_auth.invitations.routes import router as invitations
from docuchat_auth.lifecycle.routes import operator as operator_lifecycle
from docuchat_auth.lifecycle.routes import router as lifecycle
from docuchat_auth.links.routes import router as links
from docuchat_auth.logins.routes import router as logins
from docuchat_auth.members.routes import inside as members_inside
from docuchat_auth.members.routes import router as members
from docuchat_auth.operators.routes import door as operator_door
from docuchat_auth.operators.routes import router as operators
from docuchat_auth.passkeys.routes import router as passkeys
from docuchat_auth.passwords.routes import router as passwords
from docuchat_auth.registrations.routes import router as registrations
from docuchat_auth.revisions.routes import router as revisions
from docuchat_auth.scim.routes import router as scim
from docuchat_auth.second_factors.routes import router as second_factors
from docuchat_auth.sessions.routes import router as sessions
from docuchat_auth.settings import Settings
from docuchat_auth.signing_keys.routes import router as signing_keys
from docuchat_auth.user_erasures.routes import router as user_erasures
from docuchat_auth.users.routes import router as users
from docuchat_common.http.app import create_service_app
from docuchat_common.http.dead_letters import router as dead_letters
from docuchat_common.http.exports import router as exports


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; its lifespan opens and closes everything."""
    routers = [
        codes,
        logins,
        passwords,
        registrations,
        sessions,
        users,
        lifecycle,
        second_factors,
        passkeys,
        members,
        members_inside,
        user_erasures,
        invitations,
        groups,
        api_keys,
        api_keys_inside,
        chatbots,
        chatbots_inside,
        domains,
        identity_providers,
        federated_logins,
        provider_callback,
        links,
        scim,
        signing_keys,
        revisions,
        operator_door,
        operators,
        audit,
        operator_audit,
        operator_lifecycle,
        dead_letters,
        exports,
    ]
    return create_service_app(settings, title="DocuChat auth", routers=routers, open_container=open_container)
