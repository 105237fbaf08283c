/* json_schema_number.c - numbers by their spelling, as digits times a power of ten, so that
 * 0.0075 is a multiple of 0.0001. Beyond 19 digits doubles decide. */
#include "mcp/json_schema_private.h"
#include <math.h>

struct decimal {
    uint64_t digits; /* without trailing zeros */
    int64_t power;   /* of ten */
    bool negative, exact;
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int64_t read_power(struct str s) {
    int64_t power = 0;
    if (s.n && s.p[0] == '+')
        s = str_skip(s, 1);
    if (!str_to_i64(s, &power) || power > 1000000 || power < -1000000)
        power = s.n && s.p[0] == '-' ? -1000000 : 1000000;
    return power;
}

static void take_digit(struct decimal *d, unsigned digit, bool behind_point) {
    if (d->digits > (UINT64_MAX - 9) / 10) {
        d->exact = d->exact && digit == 0;
        d->power += !behind_point;
        return;
    }
    d->digits = d->digits * 10 + digit;
    d->power -= behind_point;
}

static struct decimal decimal_of(json number) {
    struct str s = json_text(number);
    struct decimal d = { .exact = true };
    size_t i = s.n && s.p[0] == '-';
    d.negative = i == 1;
    bool point = false;
    for (; i < s.n && (is_digit(s.p[i]) || s.p[i] == '.'); i++) {
        if (s.p[i] == '.')
            point = true;
        else
            take_digit(&d, (unsigned)(s.p[i] - '0'), point);
    }
    if (i < s.n)
        d.power += read_power(str_skip(s, i + 1));
    while (d.digits && d.digits % 10 == 0) {
        d.digits /= 10;
        d.power++;
    }
    return d;
}

bool number_is_integer(json number) {
    struct decimal d = decimal_of(number);
    return !d.digits || d.power >= 0;
}

/* x times 10^power modulo m */
static uint64_t scaled_mod(uint64_t x, int64_t power, uint64_t m) {
    uint64_t value = x % m;
    for (; power > 0 && value; power--)
        value = (uint64_t)((unsigned __int128)value * 10 % m);
    return value;
}

static bool multiple_by_double(json number, json of) {
    double x = 0, y = 1;
    json_is_double(number, &x);
    json_is_double(of, &y);
    double quotient = x / y;
    return isfinite(quotient) ? quotient == floor(quotient) : fmod(x, y) == 0;
}

bool number_is_multiple(json number, json of) {
    struct decimal x = decimal_of(number), y = decimal_of(of);
    if (!x.exact || !y.exact || !y.digits)
        return multiple_by_double(number, of);
    if (!x.digits)
        return true;
    int64_t up = x.power - y.power;
    if (up < 0)
        return false; /* x has no factor ten left, what it would be divided by has one */
    return up < 100000 ? scaled_mod(x.digits, up, y.digits) == 0 : multiple_by_double(number, of);
}

int number_compare(json a, json b) {
    int64_t x, y;
    if (json_is_i64(a, &x) && json_is_i64(b, &y))
        return x < y ? -1 : x > y;
    double u = 0, v = 0;
    json_is_double(a, &u);
    json_is_double(b, &v);
    return u < v ? -1 : u > v;
}
