#include "fleet.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "fleet-1";

static size_t size_of(uint32_t count)
{
    return sizeof(struct fleet_head) + (size_t)count * sizeof(struct fleet_phone);
}

static enum err map(int fd, size_t size, struct fleet *ret)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return ERR_IO;
    ret->head = p;
    ret->phones = (struct fleet_phone *)(ret->head + 1);
    return ERR_OK;
}

enum err fleet_open(const char *path, struct fleet *ret)
{
    struct stat stat;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    enum err e = fstat(fd, &stat) == 0 ? ERR_OK : ERR_IO;
    if (e == ERR_OK && (size_t)stat.st_size < sizeof(struct fleet_head))
        e = ERR_INVALID;
    if (e == ERR_OK)
        e = map(fd, (size_t)stat.st_size, ret);
    close(fd);
    if (e == ERR_OK && (memcmp(ret->head->magic, magic, sizeof magic) != 0 ||
                        size_of(ret->head->count) != (size_t)stat.st_size)) {
        munmap(ret->head, (size_t)stat.st_size);
        return ERR_INVALID;
    }
    return e;
}

static enum err fill(struct fleet *fleet, uint32_t count, const char *organisation, const char *credential,
                     const uint8_t anchor[SHA256_BYTES])
{
    struct fleet_head *head = fleet->head;
    head->count = count;
    snprintf(head->organisation, sizeof head->organisation, "%s", organisation);
    snprintf(head->credential, sizeof head->credential, "%s", credential);
    snprintf(head->portal, sizeof head->portal, "%.*s", (int)strcspn(credential, "."), credential);
    memcpy(head->anchor, anchor, SHA256_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        TRY(keys_generate(&fleet->phones[i].possession));
        TRY(keys_generate(&fleet->phones[i].user_verification));
    }
    memcpy(head->magic, magic, sizeof magic); /* last: a file that is not whole is no fleet */
    return ERR_OK;
}

enum err fleet_make(const char *path, uint32_t count, const char *organisation, const char *credential,
                    const uint8_t anchor[SHA256_BYTES])
{
    struct fleet fleet;
    size_t size = size_of(count);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    enum err e = ftruncate(fd, (off_t)size) == 0 ? map(fd, size, &fleet) : ERR_IO;
    close(fd);
    if (e != ERR_OK)
        return e;
    e = fill(&fleet, count, organisation, credential, anchor);
    munmap(fleet.head, size);
    return e;
}

void fleet_user(uint32_t index, char out[FLEET_USER_SIZE])
{
    snprintf(out, FLEET_USER_SIZE, "user-%06u", index);
}
