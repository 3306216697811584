/*
 * A stand-in for libnvidia-ml.so.1. It answers the calls that lab makes from a script, STATE_FILE (baked in with -D),
 * read anew at each call; one device a line:
 *
 *     NAME ENERGY_MJ ENERGY_RESULT POWER_MW POWER_RESULT
 *
 * where a result is a number of nvmlReturn_t. A first line `! RESULT` is what nvmlInit_v2 returns.
 * ENERGY_MJ `=WATTS` is that power since the library was loaded, in whole millijoules by the monotonic clock.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SUCCESS 0
#define INVALID_ARGUMENT 2
#define UNKNOWN 999
#define MAX_DEVICES 8

struct device {
    char name[64], energy[32];
    int energy_result, power_result;
    unsigned power_mw;
};

static struct device devices[MAX_DEVICES];
static unsigned long long loaded_ns;

static unsigned long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long)now.tv_sec * 1000000000ull + (unsigned long long)now.tv_nsec;
}

/* Returns how many devices the script has, and what nvmlInit_v2 shall return. */
static int read_state(int *init_result) {
    FILE *file = fopen(STATE_FILE, "r");
    int count = 0;
    *init_result = file ? SUCCESS : UNKNOWN;
    if (!file)
        return 0;
    if (fscanf(file, " ! %d", init_result) != 1)
        rewind(file);
    while (count < MAX_DEVICES) {
        struct device *device = &devices[count];
        if (fscanf(file, "%63s %31s %d %u %d", device->name, device->energy, &device->energy_result,
                   &device->power_mw, &device->power_result) != 5)
            break;
        count++;
    }
    fclose(file);
    return count;
}

static struct device *find(void *handle) {
    int init_result;
    size_t number = (size_t)handle - 1;
    return number < (size_t)read_state(&init_result) ? &devices[number] : NULL;
}

int nvmlInit_v2(void) {
    int init_result;
    loaded_ns = now_ns();
    read_state(&init_result);
    return init_result;
}

int nvmlShutdown(void) { return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    int init_result;
    *count = (unsigned)read_state(&init_result);
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)((size_t)index + 1);
    return find(*handle) ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    struct device *device = find(handle);
    if (!device)
        return INVALID_ARGUMENT;
    snprintf(name, length, "%s", device->name);
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy_mj) {
    struct device *device = find(handle);
    if (!device)
        return INVALID_ARGUMENT;
    if (device->energy[0] == '=')
        *energy_mj = (unsigned long long)(atof(device->energy + 1) * (double)(now_ns() - loaded_ns) / 1e6);
    else
        *energy_mj = strtoull(device->energy, NULL, 10);
    return device->energy_result;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *power_mw) {
    struct device *device = find(handle);
    if (!device)
        return INVALID_ARGUMENT;
    *power_mw = device->power_mw;
    return device->power_result;
}
