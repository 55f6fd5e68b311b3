#define _GNU_SOURCE
#include "wslg.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool parse_group(struct group *g, char *text)
{
	char *eq = strchr(text, '=');
	if (!eq)
		return false;
	*eq = 0;
	g->name = text;
	for (char *p = strtok(eq + 1, ","); p && g->npids < 64; p = strtok(NULL, ","))
		g->pids[g->npids++] = atoi(p);
	return g->npids > 0;
}

// cpu_of adds utime and stime, fields 14 and 15 of /proc/PID/stat, of every process of the group.
double cpu_of(const struct group *g)
{
	unsigned long ticks = 0, user, system;
	for (int i = 0; i < g->npids; i++) {
		char path[64], line[1024];
		snprintf(path, sizeof path, "/proc/%d/stat", g->pids[i]);
		FILE *f = fopen(path, "r");
		if (!f)
			continue;
		char *p = fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
		if (p && sscanf(p, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu", &user, &system) == 2)
			ticks += user + system;
		fclose(f);
	}
	return (double)ticks / sysconf(_SC_CLK_TCK);
}

double cpu_machine(void)
{
	unsigned long t[8] = {0}; // user nice system idle iowait irq softirq steal
	FILE *f = fopen("/proc/stat", "r");
	if (!f)
		return 0;
	if (fscanf(f, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]) != 8)
		memset(t, 0, sizeof t);
	fclose(f);
	return (double)(t[0] + t[1] + t[2] + t[5] + t[6] + t[7]) / sysconf(_SC_CLK_TCK);
}
