#include "common/mapping_name.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"

namespace grpo {
namespace {

std::string NameAt(const void* address, size_t size = 512) {
  std::string name(size, '\0');
  name.resize(MappingName(reinterpret_cast<uintptr_t>(address), name.data(), size));
  return name;
}

TEST(MappingNameTest, NamesTheFileOfEachOfItsBytesAlsoWithBlanks) {
  const std::string path = ::testing::TempDir() + "/a mapped  file";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT, 0600);
  constexpr size_t kSize = 4096;
  ASSERT_EQ(::ftruncate(fd, kSize), 0);
  auto* const bytes = static_cast<char*>(::mmap(nullptr, kSize, PROT_READ, MAP_SHARED, fd, 0));
  ASSERT_NE(bytes, MAP_FAILED);
  const std::string end = "/a mapped  file";
  for (const size_t offset : {size_t{0}, kSize / 2, kSize - 1}) {
    const std::string name = NameAt(bytes + offset);
    ASSERT_GE(name.size(), end.size());
    EXPECT_EQ(name.substr(name.size() - end.size()), end);
    EXPECT_EQ(name.front(), '/');
  }
  EXPECT_EQ(NameAt(bytes, /*size=*/1), "/");
  ::munmap(bytes, kSize);
  EXPECT_NE(NameAt(bytes), path);
  ::close(fd);
}

TEST(MappingNameTest, NothingIsNamedWhereNothingIsMapped) {
  EXPECT_EQ(NameAt(nullptr), "");
}

}  // namespace
}  // namespace grpo
