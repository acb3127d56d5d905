"""What can go wrong with groups. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, NotFound


class GroupNotFound(NotFound):
    """There is no such group."""

    code = "group_not_found"


class GroupNameTaken(Conflict):
    """Another group of the tenant has this name; choose another one."""

    code = "group_name_taken"


class TooManyGroups(Conflict):
    """A user may be in 100 groups; take the user out of another one first."""

    code = "too_many_groups"
