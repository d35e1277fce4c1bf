#include "soft_phone_internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct soft_phone_shown *find(struct soft_phone *phone, const char *challenge_id)
{
    for (size_t i = 0; i < phone->shown_count; i++)
        if (strcmp(phone->shown[i].id, challenge_id) == 0)
            return &phone->shown[i];
    return NULL;
}

static struct soft_phone_shown *oldest_open(struct soft_phone *phone)
{
    for (size_t i = 0; i < phone->shown_count; i++)
        if (!phone->shown[i].answered)
            return &phone->shown[i];
    return NULL;
}

void soft_phone_show(struct soft_phone *phone, const struct np_challenge *challenge)
{
    enum np_error error = np_seen(challenge->account, challenge->id, challenge->attempt);
    if (error != NP_OK)
        soft_phone_print_error(phone->options, error, challenge->id, "");
    if (find(phone, challenge->id) || phone->shown_count == NP_CHALLENGES_MAX)
        return;
    struct soft_phone_shown *shown = &phone->shown[phone->shown_count++];
    *shown = (struct soft_phone_shown){
        .mode = challenge->mode, .answered = challenge->answered, .answer_mono_ms = INT64_MAX};
    memcpy(shown->id, challenge->id, strlen(challenge->id) + 1);
    enum soft_phone_answer answer = phone->options->answer;
    if (!shown->answered && answer != SOFT_PHONE_ASK && answer != SOFT_PHONE_IGNORE)
        shown->answer_mono_ms = soft_phone_now_mono_ms() + phone->options->answer_delay_ms;
}

void soft_phone_forget(struct soft_phone *phone, const char *challenge_id)
{
    struct soft_phone_shown *shown = find(phone, challenge_id);
    if (!shown)
        return;
    size_t behind = (size_t)(&phone->shown[phone->shown_count] - (shown + 1));
    memmove(shown, shown + 1, behind * sizeof *shown);
    phone->shown_count--;
}

static void answer(struct soft_phone *phone, struct soft_phone_shown *shown, enum np_decision decision,
                   const char *code)
{
    shown->answer_mono_ms = INT64_MAX;
    enum np_error error = np_answer(phone->account, shown->id, decision, code, soft_phone_now_mono_ms());
    if (error == NP_OK) {
        shown->answered = true;
        soft_phone_print_answered(phone->options, shown->id, decision);
        return;
    }
    soft_phone_print_error(phone->options, error, shown->id,
                           error == NP_NO_KEY ? "an approval needs the passcode" : "not answered");
}

void soft_phone_answer_due(struct soft_phone *phone, int64_t now_mono_ms)
{
    static const enum np_decision decisions[] = {
        [SOFT_PHONE_APPROVE] = NP_APPROVE, [SOFT_PHONE_DENY] = NP_DENY, [SOFT_PHONE_NOT_ME] = NP_NOT_ME};
    for (size_t i = 0; i < phone->shown_count; i++) {
        struct soft_phone_shown *shown = &phone->shown[i];
        if (shown->answer_mono_ms > now_mono_ms)
            continue;
        enum np_decision decision = decisions[phone->options->answer];
        bool needs_code = decision == NP_APPROVE && shown->mode != NP_MODE_TAP;
        answer(phone, shown, decision, needs_code ? phone->options->code : NULL);
    }
}

int64_t soft_phone_answer_deadline(const struct soft_phone *phone)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < phone->shown_count; i++)
        if (phone->shown[i].answer_mono_ms < deadline)
            deadline = phone->shown[i].answer_mono_ms;
    return deadline;
}

static bool parse_decision(const char *word, enum np_decision *ret)
{
    static const struct {
        const char *word;
        enum np_decision decision;
    } words[] = {{"y", NP_APPROVE}, {"approve", NP_APPROVE}, {"n", NP_DENY},
                 {"deny", NP_DENY}, {"r", NP_NOT_ME},        {"not_me", NP_NOT_ME}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].word, word) != 0)
            continue;
        *ret = words[i].decision;
        return true;
    }
    return false;
}

static bool parse_act(const char *word, enum np_act *ret)
{
    static const char *const words[] = {
        [NP_ACT_ROTATED] = "rotate", [NP_ACT_UNLOCKED] = "unlock", [NP_ACT_REMOVED] = "remove"};
    for (size_t i = NP_ACT_ROTATED; i <= NP_ACT_REMOVED; i++) {
        if (strcmp(words[i], word) != 0)
            continue;
        *ret = (enum np_act)i;
        return true;
    }
    return false;
}

/* WORD [CHALLENGE] [CODE] */
static void decide(struct soft_phone *phone, char *line)
{
    enum np_decision decision;
    enum np_act act;
    char *rest = NULL, *word = strtok_r(line, " \t\r", &rest);
    if (!word)
        return;
    if (parse_act(word, &act)) {
        soft_phone_begin(phone, act);
        return;
    }
    char *code = strtok_r(NULL, " \t\r", &rest);
    struct soft_phone_shown *shown = code ? find(phone, code) : NULL;
    if (shown)
        code = strtok_r(NULL, " \t\r", &rest);
    else
        shown = oldest_open(phone);
    if (!parse_decision(word, &decision))
        soft_phone_print_error(phone->options, NP_INVALID, "",
                               "not y, n or r, approve, deny or not_me, unlock, rotate or remove");
    else if (!shown)
        soft_phone_print_error(phone->options, NP_NOT_FOUND, "", "nothing waits for an answer");
    else
        answer(phone, shown, decision, code);
}

void soft_phone_read_decisions(struct soft_phone *phone)
{
    char *end;
    ssize_t got = read(STDIN_FILENO, phone->line + phone->line_len, sizeof phone->line - phone->line_len);
    if (got <= 0) {
        phone->stdin_open = got < 0 && (errno == EINTR || errno == EAGAIN);
        return;
    }
    phone->line_len += (size_t)got;
    while ((end = memchr(phone->line, '\n', phone->line_len))) {
        *end++ = '\0';
        size_t used = (size_t)(end - phone->line);
        decide(phone, phone->line);
        memmove(phone->line, end, phone->line_len - used);
        phone->line_len -= used;
    }
    if (phone->line_len == sizeof phone->line)
        phone->line_len = 0; /* nobody types such a line */
}
