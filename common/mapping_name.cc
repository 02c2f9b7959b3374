#include "common/mapping_name.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace grpo {
namespace {

// "begin-end mode offset device inode   path", as far as it fits. Read byte by byte: no library is safe in a handler.
struct MapsLine {
  char text[1024];
  size_t length = 0;
  size_t at = 0;

  uintptr_t TakeHex() {
    uintptr_t number = 0;
    for (; at < length && text[at] != '-' && text[at] != ' '; ++at)
      number = number * 16 + static_cast<uintptr_t>(text[at] <= '9' ? text[at] - '0' : text[at] - 'a' + 10);
    ++at;
    return number;
  }
  void SkipBlanks() {
    while (at < length && text[at] == ' ') ++at;
  }
  void SkipField() {
    SkipBlanks();
    while (at < length && text[at] != ' ') ++at;
  }
  // Leaves `at` at the path where the line is the address's.
  bool Holds(uintptr_t address) {
    const uintptr_t begin = TakeHex(), end = TakeHex();
    constexpr int kFieldsBeforePath = 4;
    for (int i = 0; i < kFieldsBeforePath; ++i) SkipField();
    SkipBlanks();
    return begin <= address && address < end;
  }
};

}  // namespace

size_t MappingName(uintptr_t address, char* name, size_t size) {
  const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  MapsLine line;
  size_t name_length = 0;
  char byte = 0;
  // A system call for each byte, once in a process that is about to end.
  while (::read(fd, &byte, 1) == 1) {
    if (byte != '\n') {
      if (line.length < sizeof(line.text)) line.text[line.length++] = byte;
      continue;
    }
    if (line.Holds(address)) {
      name_length = std::min(size, line.length - std::min(line.at, line.length));
      std::copy_n(line.text + line.at, name_length, name);
      break;
    }
    line.length = line.at = 0;
  }
  ::close(fd);
  return name_length;
}

}  // namespace grpo
