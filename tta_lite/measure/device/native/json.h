#ifndef TTA_JSON_H_
#define TTA_JSON_H_

#include <stdio.h>

/* Writes a text as a JSON string: what is not plain ASCII becomes a question mark. */
static inline void write_text(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', out);
    fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
  }
  fputc('"', out);
}

#endif
