#include "common/mapping_name.h"

#include <fcntl.h>
#include <unistd.h>

namespace grpo {
namespace {

// Reads "begin-end mode offset device inode   path", byte by byte: no library is safe in a handler.
class MapsLine {
 public:
  MapsLine(uintptr_t address, char* name, size_t size) : address_(address), name_(name), size_(size) {}

  // True when the line has ended that holds the address.
  bool Take(char byte) {
    if (byte == '\n') {
      if (begin_ <= address_ && address_ < end_) return true;
      *this = MapsLine(address_, name_, size_);
    } else if (num_fields_ == 0 && (byte == '-' || byte == ' ')) {
      (byte == '-' ? begin_ : end_) = number_;
      number_ = 0;
      if (byte == ' ') ++num_fields_;
    } else if (num_fields_ == 0) {
      number_ = number_ * 16 + static_cast<uintptr_t>(byte <= '9' ? byte - '0' : byte - 'a' + 10);
    } else if (num_fields_ < kFieldsBeforePath) {
      if (byte == ' ') ++num_fields_;
    } else if ((length_ > 0 || byte != ' ') && length_ < size_) {
      name_[length_++] = byte;
    }
    return false;
  }
  size_t length() const { return length_; }

 private:
  static constexpr int kFieldsBeforePath = 5;

  uintptr_t address_;
  char* name_;
  size_t size_;
  uintptr_t begin_ = 0, end_ = 0, number_ = 0;
  int num_fields_ = 0;
  size_t length_ = 0;
};

}  // namespace

size_t MappingName(uintptr_t address, char* name, size_t size) {
  const int fd = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  MapsLine line(address, name, size);
  bool found = false;
  char bytes[1024];
  for (ssize_t got; !found && (got = ::read(fd, bytes, sizeof(bytes))) > 0;) {
    for (ssize_t i = 0; !found && i < got; ++i) found = line.Take(bytes[i]);
  }
  ::close(fd);
  return found ? line.length() : 0;
}

}  // namespace grpo
