/* civil.c - see civil.h. */
#include "servers/time/civil.h"

bool civil_is_leap(int64_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int civil_month_days(int64_t year, int month) {
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return lengths[month - 1] + (month == 2 && civil_is_leap(year));
}

/* Years begin in March here, so that the leap day is the last one. */
int64_t civil_days(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

int64_t civil_local(const struct civil *c) {
    return civil_days(c->year, c->month, c->day) * SECONDS_PER_DAY + c->hour * 3600 +
           c->minute * 60 + c->second;
}

static void set_date(struct civil *c, int64_t days) {
    unsigned shifted = (unsigned)(days + 719468); /* days since 0000-03-01, never negative here */
    unsigned era = shifted / 146097, doe = shifted % 146097;
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    c->month = (int)(mp < 10 ? mp + 3 : mp - 9);
    c->day = (int)(doy - (153 * mp + 2) / 5 + 1);
    c->year = (int)(yoe + era * 400) + (c->month <= 2);
}

struct civil civil_of(int64_t local_seconds, int nano) {
    int64_t days = floor_div(local_seconds, SECONDS_PER_DAY);
    int rest = (int)(local_seconds - days * SECONDS_PER_DAY);
    struct civil c = {
        .hour = rest / 3600, .minute = rest / 60 % 60, .second = rest % 60, .nano = nano,
    };
    set_date(&c, days);
    return c;
}

bool civil_add_months(struct civil *c, int64_t months, bool *clamped) {
    int64_t month;
    if (__builtin_add_overflow((int64_t)c->year * 12 + c->month - 1, months, &month))
        return false;
    int64_t year = floor_div(month, 12);
    if (year < 1 || year > 9999)
        return false;
    c->year = (int)year;
    c->month = (int)(month - year * 12) + 1;
    int last = civil_month_days(year, c->month);
    *clamped = c->day > last;
    if (*clamped)
        c->day = last;
    return true;
}

int civil_weekday(int64_t days) {
    return (int)(days + 3 - floor_div(days + 3, 7) * 7); /* 1970-01-01 was a Thursday */
}

const char *civil_weekday_name(int64_t days) {
    static const char *const names[] = { "Monday", "Tuesday", "Wednesday", "Thursday",
                                         "Friday", "Saturday", "Sunday" };
    return names[civil_weekday(days)];
}

struct instant instant_of(nanos wall) {
    int64_t seconds = floor_div(wall, NANOS_SEC);
    return (struct instant){ seconds, (int)(wall - seconds * NANOS_SEC) };
}

int instant_cmp(struct instant a, struct instant b) {
    if (a.seconds != b.seconds)
        return a.seconds < b.seconds ? -1 : 1;
    return (a.nano > b.nano) - (a.nano < b.nano);
}
