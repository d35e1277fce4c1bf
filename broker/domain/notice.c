#include "domain/notice.h"

#include "domain/router.h"
#include "wire/device_message.h"

void notice_send(struct domain *domain, const struct routes *routes, int kind, const char *phone_name,
                 int64_t until_unix_ms)
{
    for (size_t i = 0; i < routes->device_count; i++) {
        const struct route *route = &routes->devices[i];
        struct buf frame = {0};
        if (device_message_notice(route->device_id, kind, phone_name, until_unix_ms, &frame) == ERR_OK)
            router_deliver(domain->router, route, HINT_NOTICE, "", buf_view(&frame));
        buf_done(&frame);
    }
}
