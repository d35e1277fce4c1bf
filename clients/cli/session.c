#include "cli/session.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "cli/say.h"

#define DATA_DIRECTORY       "/var/lib/nanopush"
#define CREDENTIAL_MAX_BYTES 512
#define PORTS_MAX_BYTES      4096

/* What an option says, else the environment; an empty variable is none. */
static const char *option_or_environment(const struct args *args, enum option option, const char *variable)
{
    const char *text = args->texts[option] ? args->texts[option] : getenv(variable);
    return text && *text ? text : NULL;
}

static const char *data_directory(const struct args *args)
{
    const char *directory = option_or_environment(args, OPTION_DATA, "NANOPUSH_DATA");
    return directory ? directory : DATA_DIRECTORY;
}

char *session_path(const struct args *args, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", data_directory(args), name) < 0 ? NULL : path;
}

static enum exit_status out_of_memory(void)
{
    say_error("the session", err_text(ERR_NOMEM));
    return EXIT_STATUS_ERROR;
}

/* A wildcard is no address to call; the certificate bears localhost. */
static char *dialable(const char *address)
{
    const char *port = strrchr(address, ':');
    bool wildcard = strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
    char *text;
    if (!port || !wildcard)
        return strdup(address);
    return asprintf(&text, "localhost%s", port) < 0 ? NULL : text;
}

static char *find_port(char *lines, const char *port)
{
    char *rest = lines;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        size_t len = strlen(port);
        if (strncmp(line, port, len) == 0 && line[len] == '=' && line[len + 1])
            return line + len + 1;
    }
    return NULL;
}

enum exit_status session_address(const struct args *args, const char *port, char **ret)
{
    struct buf content = {0};
    char *path = session_path(args, "ports");
    if (!path)
        return out_of_memory();
    enum err e = file_read(path, PORTS_MAX_BYTES, NULL, &content);
    if (e == ERR_OK)
        e = buf_append_byte(&content, '\0');
    char *found = e == ERR_OK ? find_port((char *)content.p, port) : NULL;
    char *address = found ? dialable(found) : NULL;
    if (e != ERR_OK)
        say_file_error("cannot read the broker's addresses from", path, e);
    else if (!found)
        say_file_error("this port has no address in", path, ERR_NOT_FOUND);
    buf_done(&content);
    free(path);
    if (!address)
        return EXIT_STATUS_ERROR;
    *ret = address;
    return EXIT_STATUS_OK;
}

static const char *credential_path(const struct args *args)
{
    return option_or_environment(args, OPTION_CREDENTIAL, "NANOPUSH_CREDENTIAL");
}

static enum exit_status read_credential(const struct args *args, struct session *session)
{
    const char *path = credential_path(args);
    bool open_to_others = false;
    if (!path) {
        say_error("no credential", "give --credential FILE or set NANOPUSH_CREDENTIAL to the file's path");
        return EXIT_STATUS_ERROR;
    }
    enum err e = file_read_line(path, CREDENTIAL_MAX_BYTES, &open_to_others, &session->credential);
    size_t len = e == ERR_OK ? strcspn(session->credential, ".") : 0;
    if (e == ERR_OK && (len == 0 || len >= PORTAL_ID_SIZE || !session->credential[len]))
        e = ERR_MALFORMED;
    if (e != ERR_OK) {
        say_file_error("the credential", path, e);
        return EXIT_STATUS_ERROR;
    }
    memcpy(session->portal, session->credential, len);
    if (open_to_others)
        say_error(path, "warning: others can read this credential; chmod 600 keeps it yours");
    return EXIT_STATUS_OK;
}

static enum exit_status connect_portal(const struct args *args, const char *ca_path, struct session *session)
{
    char *address = NULL, *url = NULL;
    if (args->texts[OPTION_PORTAL]) {
        url = strdup(args->texts[OPTION_PORTAL]);
    } else {
        if (session_address(args, "portal", &address) != EXIT_STATUS_OK)
            return EXIT_STATUS_ERROR;
        if (asprintf(&url, "https://%s", address) < 0)
            url = NULL;
        free(address);
    }
    struct connect_target target = {.url = url, .bearer = session->credential, .ca_path = ca_path};
    if (url && url[strlen(url) - 1] == '/') /* as people copy it */
        url[strlen(url) - 1] = '\0';
    enum err e = url ? connect_new(&target, &session->client) : ERR_NOMEM;
    free(url);
    return e == ERR_OK ? EXIT_STATUS_OK : out_of_memory();
}

enum exit_status session_open_portal(const struct args *args, struct session *ret)
{
    struct session session = {.json = args_given(args, OPTION_JSON), .directory = -1};
    char *default_ca = session_path(args, "device-ca.pem");
    const char *ca_path = args->texts[OPTION_CA] ? args->texts[OPTION_CA] : default_ca;
    enum exit_status status = default_ca ? read_credential(args, &session) : out_of_memory();
    if (status == EXIT_STATUS_OK && access(ca_path, R_OK) < 0) {
        say_file_error("the CA", ca_path, ERR_IO);
        status = EXIT_STATUS_ERROR;
    }
    if (status == EXIT_STATUS_OK)
        status = connect_portal(args, ca_path, &session);
    free(default_ca);
    if (status != EXIT_STATUS_OK) {
        session_close(&session);
        return status;
    }
    *ret = session;
    return EXIT_STATUS_OK;
}

enum exit_status session_open_admin(const struct args *args, struct session *ret)
{
    struct session session = {.json = args_given(args, OPTION_JSON)};
    session.directory = open(data_directory(args), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (session.directory < 0) {
        say_file_error("the data directory", data_directory(args), ERR_IO);
        return EXIT_STATUS_ERROR;
    }
    /* A socket's path has 107 bytes at most; by way of the descriptor the directory's own length does not
     * count. */
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/admin.sock", session.directory);
    struct connect_target target = {.url = "http://localhost", .unix_path = path};
    if (connect_new(&target, &session.client) != ERR_OK) {
        session_close(&session);
        return out_of_memory();
    }
    *ret = session;
    return EXIT_STATUS_OK;
}

enum exit_status session_open_any(const struct args *args, struct session *ret)
{
    return credential_path(args) ? session_open_portal(args, ret) : session_open_admin(args, ret);
}

enum exit_status session_call(struct session *session, const char *procedure, const ProtobufCMessage *request,
                              const ProtobufCMessageDescriptor *descriptor, const char *what,
                              session_response_fn on_response, void *arg)
{
    struct connect_problem problem;
    struct arena arena;
    ProtobufCMessage *response;
    enum exit_status status = EXIT_STATUS_ERROR;
    arena_init(&arena, CONNECT_MEMORY_MAX_BYTES);
    if (connect_call(session->client, procedure, request, descriptor, &arena, &response, &problem) == ERR_OK)
        status = on_response(session, response, arg);
    else
        say_problem(what, &problem);
    arena_done(&arena);
    return status;
}

void session_close(struct session *session)
{
    connect_free(session->client);
    line_free(session->credential);
    if (session->directory >= 0)
        close(session->directory);
    *session = (struct session){.directory = -1};
}
