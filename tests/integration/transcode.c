/**
 * The broker's JSON mapping as a filter, for a test that holds it against another implementation. A line is
 *
 *     json NAME HEX      the text as a message: "ok HEX", its wire bytes
 *     binary NAME HEX    the wire bytes as a text: "ok HEX"
 *
 * or, where it is refused, "malformed", "invalid", "too big" and so on, and what is wrong. NAME is that of a message
 * which some service of nanopush.v1 takes or answers with, or a part of one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nanopush/v1/admin.pb-c.h"
#include "nanopush/v1/challenge.pb-c.h"
#include "nanopush/v1/enrolment.pb-c.h"
#include "nanopush/v1/event.pb-c.h"
#include "nanopush/v1/user.pb-c.h"
#include "wire/json.h"
#include "wire/message.h"

static const ProtobufCServiceDescriptor *const services[] = {
    &nanopush__v1__admin_service__descriptor,     &nanopush__v1__challenge_service__descriptor,
    &nanopush__v1__enrolment_service__descriptor, &nanopush__v1__event_service__descriptor,
    &nanopush__v1__user_service__descriptor,
};

static const ProtobufCMessageDescriptor *find_in(const ProtobufCMessageDescriptor *descriptor,
                                                 const char *name)
{
    if (strcmp(descriptor->name, name) == 0)
        return descriptor;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const ProtobufCMessageDescriptor *found =
            field->type == PROTOBUF_C_TYPE_MESSAGE ? find_in(field->descriptor, name) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

static const ProtobufCMessageDescriptor *find_message(const char *name)
{
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        for (unsigned j = 0; j < services[i]->n_methods; j++) {
            const ProtobufCMethodDescriptor *method = &services[i]->methods[j];
            const ProtobufCMessageDescriptor *found = find_in(method->input, name);
            if (!found)
                found = find_in(method->output, name);
            if (found)
                return found;
        }
    return NULL;
}

static void transcode(bool json, const ProtobufCMessageDescriptor *descriptor, struct bytes in)
{
    struct arena arena;
    struct json_problem problem = {{0}};
    struct buf out = {0};
    ProtobufCMessage *message = NULL;
    arena_init(&arena, ARENA_MAX_BYTES);
    enum err e = json ? json_decode(descriptor, in, JSON_MAX_DEPTH, &arena, &message, &problem)
                      : message_parse(descriptor, in, 0, &arena, &message);
    if (e == ERR_OK)
        e = json ? message_pack(message, &out) : json_encode(message, &out);
    if (e == ERR_OK) {
        printf("ok ");
        for (size_t i = 0; i < buf_len(&out); i++)
            printf("%02x", buf_view(&out).p[i]);
        printf("\n");
    } else {
        printf("%s: %s\n", err_name(e), problem.text);
    }
    buf_done(&out);
    arena_done(&arena);
}

int main(void)
{
    char *line = NULL, direction[8], name[128];
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, stdin)) > 0) {
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        const ProtobufCMessageDescriptor *descriptor =
            sscanf(line, "%7s %127s %n", direction, name, &at) == 2 ? find_message(name) : NULL;
        struct bytes text = bytes_of(line + at);
        uint8_t *in = malloc(text.len / 2 + 1);
        if (!descriptor || !in || (text.len && hex_decode(text, in, text.len / 2) != ERR_OK)) {
            fprintf(stderr, "transcode: %s: no such message, or no hexadecimal digits\n", name);
            return 1;
        }
        transcode(strcmp(direction, "json") == 0, descriptor, bytes_make(in, text.len / 2));
        free(in);
    }
    free(line);
    return 0;
}
