/* engine/base/crc32c.h: CRC-32C (Castagnoli) as iSCSI and Kafka use it, by ISA-L. */
#ifndef LOGMNT_ENGINE_BASE_CRC32C_H
#define LOGMNT_ENGINE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc (0 to start) over len bytes: crc32c(crc32c(0, a), b) is that of a followed by b, and
 * crc32c(0, "123456789") is 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
