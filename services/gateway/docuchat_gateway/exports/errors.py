"""What can go wrong with exports."""

from docuchat_common.errors import NotFound, RateLimited


class PersonNotFound(NotFound):
    """There is no such user of the tenant whose data you may export: your own, or for who manages users everybody's."""

    code = "person_not_found"


class TooManyExports(RateLimited):
    """This was exported as often as it may be in a day; fetch the latest archive, or ask again later."""

    code = "too_many_exports"
