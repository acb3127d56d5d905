"""What can go wrong with the widget."""

from docuchat_common.errors import NotFound, UpstreamUnavailable


class WidgetNotBuilt(UpstreamUnavailable):
    """This server has no widget: where the npm registry can be reached, run `deploy/web.sh` and start it again."""

    code = "widget_not_built"
    passes = False


class WidgetNotFound(NotFound):
    """There is no such version of the widget, or it is older than two years; take the tag of the chatbot anew."""

    code = "widget_not_found"
