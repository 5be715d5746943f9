#include "runrig/shm/shared_memory.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include "session_support.hpp"

namespace runrig {
namespace {

using ::testing::HasSubstr;

class SharedMemoryTest : public ::testing::Test {
 protected:
  const test::SegmentName name_;

  [[nodiscard]] std::error_code attach_code(Access access = Access::read_write) const {
    return test::thrown_code([&] { (void)SharedMemory::attach(name_, access); });
  }
  void plant_file(mode_t mode, const std::string& text) const {
    std::ofstream(name_.path()) << text;
    ASSERT_EQ(::chmod(name_.path().c_str(), mode), 0);
  }
};

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte each) { return each == std::byte{0}; });
}

int open_descriptors() {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST_F(SharedMemoryTest, HoldsExactlyTheBytesAskedForAllZero) {
  const auto segment = SharedMemory::create(name_, 80'001);
  EXPECT_EQ(segment.name(), name_.str());
  EXPECT_EQ(segment.size_bytes(), 80'001U);
  EXPECT_EQ(segment.writable_bytes().size(), 80'001U);
  EXPECT_TRUE(all_zero(segment.bytes()));
  EXPECT_EQ(std::filesystem::file_size(name_.path()), 80'001U);
  EXPECT_EQ(SharedMemory::attach(name_).size_bytes(), 80'001U);
}

TEST_F(SharedMemoryTest, AnotherProcessSeesWhatIsWrittenAndWritesItself) {
  const auto segment = SharedMemory::create(name_, 4096);
  segment.writable_bytes()[17] = std::byte{42};
  EXPECT_EQ(test::run_in_child([&] {
              const auto attached = SharedMemory::attach(name_);
              ASSERT_EQ(attached.bytes()[17], std::byte{42});
              attached.writable_bytes()[18] = std::byte{43};
            }),
            0);
  EXPECT_EQ(segment.bytes()[18], std::byte{43});
}

TEST_F(SharedMemoryTest, AttachedReadOnlyCannotBeWritten) {
  const auto segment = SharedMemory::create(name_, 4096);
  const auto attached = SharedMemory::attach(name_, Access::read_only);
  segment.writable_bytes()[0] = std::byte{9};
  EXPECT_EQ(attached.bytes()[0], std::byte{9});
  EXPECT_THROW((void)attached.writable_bytes(), std::logic_error);
  EXPECT_EQ(attached.access(), Access::read_only);
}

TEST_F(SharedMemoryTest, FailedCreateLeavesTheOtherSegmentAlone) {
  const auto winner = SharedMemory::create(name_, 4096);
  winner.writable_bytes()[0] = std::byte{1};
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, 8192); }), std::errc::file_exists);
  const auto attached = SharedMemory::attach(name_, Access::read_only);
  EXPECT_EQ(attached.size_bytes(), 4096U);
  EXPECT_EQ(attached.bytes()[0], std::byte{1});
}

TEST_F(SharedMemoryTest, OfManyCreatorsExactlyOneWins) {
  std::atomic<int> winners{0};
  std::atomic<int> losers{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const auto code = test::thrown_code([&] { (void)SharedMemory::create(name_, 4096); });
      ++(code ? losers : winners);
      EXPECT_TRUE(!code || code == std::errc::file_exists) << code.message();
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(losers, 3);
}

TEST_F(SharedMemoryTest, MakesNamesOfItsOwn) {
  auto one = SharedMemory::create(100);
  auto other = SharedMemory::create(100);
  EXPECT_THAT(one.name(), ::testing::MatchesRegex("rr_[0-9a-f]+"));
  EXPECT_EQ(one.name().size(), 19U);
  EXPECT_NE(one.name(), other.name());
  one.unlink();
  other.unlink();
}

TEST_F(SharedMemoryTest, FillRunsBeforeAnybodyCanFindTheName) {
  const auto segment = SharedMemory::create(name_, 4096, [&](std::span<std::byte> bytes) {
    EXPECT_FALSE(test::name_exists(name_));
    bytes[0] = std::byte{5};
  });
  EXPECT_EQ(SharedMemory::attach(name_).bytes()[0], std::byte{5});
}

TEST_F(SharedMemoryTest, AFillThatThrowsLeavesNothing) {
  EXPECT_THROW((void)SharedMemory::create(name_, 4096, [](auto) { throw std::runtime_error("no data"); }),
               std::runtime_error);
  EXPECT_FALSE(test::name_exists(name_));
}

// N3: names are refused before any system call, so also where /dev/shm has such a file.
struct BadName {
  const char* label;
  std::string name;
};
class SharedMemoryBadNameTest : public ::testing::TestWithParam<BadName> {};

TEST_P(SharedMemoryBadNameTest, IsRefused) {
  const std::string& name = GetParam().name;
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name, 4096); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::attach(name); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { remove_segment(name); }), std::errc::invalid_argument);
  const auto text = test::thrown_text([&] { (void)SharedMemory::attach(name); });
  EXPECT_THAT(text, HasSubstr("1 to 200 of the characters"));
  EXPECT_LT(text.size(), 300U);
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; })) << text;
}

INSTANTIATE_TEST_SUITE_P(
    Names, SharedMemoryBadNameTest,
    ::testing::Values(BadName{"empty", ""}, BadName{"dot", "."}, BadName{"dot_dot", ".."}, BadName{"hidden", ".x"},
                      BadName{"slash", "a/b"}, BadName{"leading_slash", "/x"}, BadName{"parent", "../etc/passwd"},
                      BadName{"nul", std::string("a\0b", 3)}, BadName{"too_long", std::string(201, 'x')},
                      BadName{"much_too_long", std::string(100'000, 'x')}, BadName{"not_utf8", "\xff\xfe"},
                      BadName{"utf8", "tempé"}, BadName{"option", "-rf"}, BadName{"escape", "\x1b[2J"},
                      BadName{"newline", "a\nb"}, BadName{"space", "a b"}),
    [](const auto& each) { return std::string(each.param.label); });

TEST(SegmentNameTest, TheLongestNameWorks) {
  const auto unique = test::unique_segment_name();
  const std::string name = unique + std::string(longest_segment_name - unique.size(), 'x');
  auto segment = SharedMemory::create(name, 10);
  EXPECT_EQ(SharedMemory::attach(name).size_bytes(), 10U);
  EXPECT_EQ(segment.handle().name_view(), name);
  segment.unlink();
  EXPECT_FALSE(test::name_exists(name));
}

TEST_F(SharedMemoryTest, SizesThatCannotBeAreRefused) {
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, 0); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(0); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, ~std::size_t{0}); }),
            std::errc::invalid_argument);
  EXPECT_FALSE(test::name_exists(name_));
}

// N1
TEST_F(SharedMemoryTest, AttachToNothingSaysSo) {
  EXPECT_EQ(attach_code(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(test::thrown_text([&] { (void)SharedMemory::attach(name_); }),
            "attach segment '" + name_.str() + "': No such file or directory");
}

TEST_F(SharedMemoryTest, APlantedFifoIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo(name_.path().c_str(), 0600), 0);
  const auto start = std::chrono::steady_clock::now();
  for (const auto access : {Access::read_only, Access::read_write}) {
    EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_, access); }), HasSubstr("it is a FIFO"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(100));
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, 10); }), std::errc::file_exists);
}

TEST_F(SharedMemoryTest, APlantedSymbolicLinkIsRefusedWhereverItLeads) {
  const test::SegmentName target;
  const auto segment = SharedMemory::create(target, 4096);
  std::filesystem::create_symlink(target.path(), name_.path());
  EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_); }), HasSubstr("it is a symbolic link"));
  std::filesystem::remove(name_.path());
  std::filesystem::create_symlink("/nowhere/at/all", name_.path());
  EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_); }), HasSubstr("it is a symbolic link"));
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, 10); }), std::errc::file_exists);
  EXPECT_TRUE(std::filesystem::is_symlink(name_.path()));
}

TEST_F(SharedMemoryTest, APlantedDirectorySocketOrDeviceIsRefused) {
  std::filesystem::create_directory(name_.path());
  for (const auto access : {Access::read_only, Access::read_write}) {
    EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_, access); }), HasSubstr("it is a directory"));
  }
  std::filesystem::remove(name_.path());

  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{AF_UNIX, {}};
  std::strncpy(address.sun_path, name_.path().c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_); }), HasSubstr("it is a socket"));
  std::filesystem::remove(name_.path());

  if (::mknod(name_.path().c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0) {  // root only
    EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_); }), HasSubstr("it is a device"));
  }
}

TEST_F(SharedMemoryTest, AFileWithSeveralHardLinksIsRefused) {
  const test::SegmentName target;
  const auto segment = SharedMemory::create(target, 4096);
  std::filesystem::create_hard_link(target.path(), name_.path());
  EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_); }), HasSubstr("several hard links"));
  EXPECT_EQ(attach_code(), std::errc::invalid_argument);
}

TEST_F(SharedMemoryTest, AnEmptyFileIsRefused) {
  plant_file(0600, "");
  EXPECT_EQ(attach_code(), std::errc::invalid_argument);
  EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_); }), HasSubstr("it is empty"));
}

// N2
TEST_F(SharedMemoryTest, AFileThatOthersMayWriteIsRefused) {
  for (const mode_t mode : {0666U, 0620U, 0602U}) {
    plant_file(mode, "data");
    EXPECT_EQ(attach_code(), std::errc::permission_denied) << std::oct << mode;
  }
  plant_file(0644, "data");
  EXPECT_EQ(attach_code(), std::error_code());
}

TEST_F(SharedMemoryTest, AnotherUsersFileIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  plant_file(0600, "data");
  ASSERT_EQ(::chown(name_.path().c_str(), 12345, 12345), 0);
  EXPECT_EQ(attach_code(), std::errc::permission_denied);
  EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::attach(name_); }), HasSubstr("belongs to user 12345"));
  EXPECT_EQ(test::thrown_code([&] { remove_segment(name_); }), std::errc::permission_denied);
  EXPECT_TRUE(test::name_exists(name_));
}

// N4
TEST_F(SharedMemoryTest, TheModeIs0600WhateverTheUmask) {
  for (const mode_t mask : {0000U, 0077U, 0777U}) {
    EXPECT_EQ(test::run_in_child([&] {
                test::leave_session();
                ::umask(mask);
                auto segment = SharedMemory::create(name_, 4096);
                struct stat status {};
                ASSERT_EQ(::stat(name_.path().c_str(), &status), 0);
                EXPECT_EQ(status.st_mode & 07777U, 0600U);
                segment.unlink();
              }),
              0)
        << std::oct << mask;
  }
}

// N6
TEST_F(SharedMemoryTest, UnlinkLeavesAnotherSegmentOfThatNameAlone) {
  auto mine = SharedMemory::create(name_, 4096);
  std::filesystem::remove(name_.path());
  plant_file(0600, "somebody else's");
  EXPECT_EQ(test::thrown_code([&] { mine.unlink(); }), std::errc::no_such_file_or_directory);
  EXPECT_EQ(test::thrown_code([&] { mine.persist(); }), std::errc::no_such_file_or_directory);
  EXPECT_TRUE(test::name_exists(name_));
}

TEST_F(SharedMemoryTest, TravelsByHandleAlsoAfterUnlink) {
  auto segment = SharedMemory::create(name_, 5000);
  segment.writable_bytes()[4999] = std::byte{1};
  const SegmentHandle handle = segment.handle();
  segment.unlink();
  EXPECT_EQ(test::run_in_child([&] {
              auto same = SharedMemory::attach(handle);
              EXPECT_EQ(same.name(), segment.name());
              EXPECT_EQ(same.id(), segment.id());
              EXPECT_EQ(same.size_bytes(), 5000U);
              same.writable_bytes()[0] = same.bytes()[4999];
              EXPECT_THROW((void)SharedMemory::attach(handle, Access::read_only).writable_bytes(), std::logic_error);
              EXPECT_EQ(test::thrown_code([&] { same.unlink(); }), std::errc::no_such_file_or_directory);
            }),
            0);
  EXPECT_EQ(segment.bytes()[0], std::byte{1});
  segment.close();
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::attach(handle); }), std::errc::no_such_file_or_directory);
  const auto nameless = AnonymousMemory::create("x", 10);
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::attach(nameless.handle()); }), std::errc::invalid_argument);
  EXPECT_EQ(test::thrown_code([] { (void)SharedMemory::attach(SegmentHandle{}); }), std::errc::invalid_argument);
}

TEST_F(SharedMemoryTest, MappingsOutliveTheName) {
  auto segment = SharedMemory::create(name_, 4096);
  const auto attached = SharedMemory::attach(name_);
  segment.unlink();
  EXPECT_EQ(attach_code(), std::errc::no_such_file_or_directory);
  segment.writable_bytes()[0] = std::byte{1};
  EXPECT_EQ(attached.bytes()[0], std::byte{1});
  const auto next = SharedMemory::create(name_, 100);  // the name is free for another one
  EXPECT_EQ(SharedMemory::attach(name_).size_bytes(), 100U);
  EXPECT_EQ(attached.size_bytes(), 4096U);
}

// R2
TEST_F(SharedMemoryTest, ClosingTwiceIsHarmlessAndUseAfterwardsAnError) {
  auto segment = SharedMemory::create(name_, 4096);
  segment.close();
  segment.close();
  EXPECT_THROW((void)segment.bytes(), std::logic_error);
  EXPECT_THROW((void)segment.writable_bytes(), std::logic_error);
  EXPECT_THROW((void)segment.handle(), std::logic_error);
  EXPECT_EQ(segment.fd(), -1);
  EXPECT_EQ(segment.size_bytes(), 0U);
  EXPECT_EQ(segment.name(), name_.str());
  segment.unlink();  // as in Python, after close() too
  EXPECT_EQ(test::thrown_code([&] { segment.unlink(); }), std::errc::no_such_file_or_directory);
}

TEST_F(SharedMemoryTest, WhatWasMovedFromIsAsIfClosed) {
  auto segment = SharedMemory::create(name_, 4096);
  SharedMemory moved = std::move(segment);
  EXPECT_THROW((void)segment.bytes(), std::logic_error);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(test::thrown_code([&] { segment.unlink(); }), std::errc::invalid_argument);
  segment = std::move(moved);
  EXPECT_EQ(segment.bytes().size(), 4096U);
  segment.unlink();
}

TEST_F(SharedMemoryTest, DescriptorsAreClosedOnExecAndNoneIsLeft) {
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();  // so that all descriptors above 2 are ours
              SharedMemory::create(name_, 4096).unlink();
              const int before = open_descriptors();
              {
                auto segment = SharedMemory::create(name_, 4096);
                const auto attached = SharedMemory::attach(name_);
                for (int fd = 3; fd < 100; ++fd) {
                  const int flags = ::fcntl(fd, F_GETFD);
                  EXPECT_TRUE(flags < 0 || (flags & FD_CLOEXEC) != 0) << fd;
                }
                EXPECT_GE(open_descriptors(), before + 2);
                EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, 4096); }), std::errc::file_exists);
                segment.unlink();
              }
              EXPECT_EQ(attach_code(), std::errc::no_such_file_or_directory);
              EXPECT_EQ(open_descriptors(), before);
            }),
            0);
}

// F4
// Runs `call` with room for `extra` more descriptors, all low numbers being taken.
std::error_code code_with_descriptors(rlim_t extra, const std::function<void()>& call) {
  rlimit normal{};
  EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &normal), 0);
  const rlimit low{static_cast<rlim_t>(open_descriptors()) - 1 + extra, normal.rlim_max};
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const auto code = test::thrown_code(call);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &normal), 0);
  return code;
}

TEST_F(SharedMemoryTest, RunningOutOfDescriptorsIsACleanError) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer of objects' types needs descriptors itself";
#endif
  // Not through the fixture: the sanitizer of member calls needs descriptors itself.
  const std::string name = name_;
  EXPECT_EQ(test::run_in_child([name] {
              test::leave_session();
              int failures = 0;
              for (rlim_t extra = 0; extra < 16; ++extra) {
                const int before = open_descriptors();
                const auto code = code_with_descriptors(extra, [&] { (void)SharedMemory::create(name, 4096); });
                EXPECT_EQ(test::name_exists(name), !code) << extra;
                EXPECT_LE(open_descriptors(), before + 1) << extra;  // one more: the session
                if (code) {
                  ++failures;
                  EXPECT_TRUE(code == std::errc::too_many_files_open ||
                              code == std::errc::resource_unavailable_try_again)  // the tracker had too few
                      << code.message();
                } else {
                  remove_segment(name);
                }
              }
              EXPECT_GT(failures, 3);
              const auto segment = SharedMemory::create(name, 4096);
              const int before = open_descriptors();
              const auto attach = [&] { (void)SharedMemory::attach(name); };
              EXPECT_EQ(code_with_descriptors(0, attach), std::errc::too_many_files_open);
              EXPECT_EQ(code_with_descriptors(1, attach), std::errc::too_many_files_open);
              EXPECT_EQ(code_with_descriptors(2, attach), std::error_code());
              EXPECT_EQ(open_descriptors(), before);
              remove_segment(name);
            }),
            0);
}

// M1
TEST_F(SharedMemoryTest, MoreThanThereIsRoomForIsAnErrorWithBothNumbers) {
  struct statvfs status {};
  ASSERT_EQ(::statvfs("/dev/shm", &status), 0);
  const std::size_t too_much = (status.f_bavail + 256) * status.f_frsize;
  if (status.f_blocks == 0) GTEST_SKIP() << "this /dev/shm has no limit";
  EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, too_much); }), std::errc::no_space_on_device);
  const auto text = test::thrown_text([&] { (void)SharedMemory::create(name_, too_much); });
  EXPECT_THAT(text, HasSubstr("needs "));
  EXPECT_THAT(text, HasSubstr("/dev/shm has "));
  EXPECT_FALSE(test::name_exists(name_));
}

TEST_F(SharedMemoryTest, AFullFileSystemRefusesAndKeepsNothing) {
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=1m", {
    EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, std::size_t{4} << 20); }),
              std::errc::no_space_on_device);
    EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::create(name_, std::size_t{4} << 20); }),
                HasSubstr("(needs 4.0 MiB, /dev/shm has 1.0 MiB free; "));
    const auto most = SharedMemory::create(name_, std::size_t{900} << 10);
    struct statvfs status {};
    ASSERT_EQ(::statvfs("/dev/shm", &status), 0);
    // The pages would just fit, but then there is none for the registry's entry.
    EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(status.f_bavail * status.f_frsize); }),
              std::errc::no_space_on_device);
    struct statvfs after {};
    ASSERT_EQ(::statvfs("/dev/shm", &after), 0);
    EXPECT_EQ(after.f_bavail, status.f_bavail);
    remove_segment(name_);
  });
}

// M2
TEST_F(SharedMemoryTest, AFileSystemThatFillsUpLaterIsNoSigbus) {
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=1m", {
    const auto segment = SharedMemory::create(name_, std::size_t{512} << 10);
    std::ofstream hog("/dev/shm/hog");
    const std::string block(4096, 'x');
    while (hog.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) continue;
    for (auto& each : segment.writable_bytes()) each = std::byte{1};
    remove_segment(name_);
  });
}

// M4, for the machine in place of a cgroup, which only root could make
TEST_F(SharedMemoryTest, MoreThanTheMachineHasIsRefusedBeforeTheOutOfMemoryKiller) {
  RUNRIG_RUN_WITH_PRIVATE_SHM("size=1024g", {
    EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, std::size_t{1000} << 30); }),
              std::errc::not_enough_memory);
    EXPECT_THAT(test::thrown_text([&] { (void)SharedMemory::create(name_, std::size_t{1000} << 30); }),
                HasSubstr("(needs 1000.0 GiB, the m"));  // "the machine has" or "the memory cgroup has"
  });
}

TEST_F(SharedMemoryTest, ALimitOnFileSizesIsAnErrorAndNotASignal) {
  EXPECT_EQ(test::run_in_child([&] {
              const rlimit low{std::size_t{1} << 20, std::size_t{1} << 20};
              ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
              EXPECT_EQ(test::thrown_code([&] { (void)SharedMemory::create(name_, std::size_t{2} << 20); }),
                        std::errc::file_too_large);
              EXPECT_EQ(test::thrown_code([&] { (void)AnonymousMemory::create("x", std::size_t{2} << 20); }),
                        std::errc::file_too_large);
            }),
            0);
}

// M3: each fallocate of this size takes longer than the timer's period, and tmpfs starts over when interrupted.
std::atomic<int> alarms{0};
TEST_F(SharedMemoryTest, AStormOfSignalsDoesNotStallACreation) {
  struct statvfs status {};
  ASSERT_EQ(::statvfs("/dev/shm", &status), 0);
  const std::size_t size_bytes = std::min<std::size_t>(std::size_t{256} << 20, status.f_bavail * status.f_frsize / 2);
  EXPECT_EQ(test::run_in_child([&] {
              test::leave_session();
              struct sigaction action {};
              action.sa_handler = [](int) { alarms.fetch_add(1, std::memory_order_relaxed); };
              ASSERT_EQ(::sigaction(SIGALRM, &action, nullptr), 0);  // without SA_RESTART
              const itimerval every{{0, 1000}, {0, 1000}};
              ASSERT_EQ(::setitimer(ITIMER_REAL, &every, nullptr), 0);
              auto segment = SharedMemory::create(name_, size_bytes);
              const auto attached = SharedMemory::attach(name_);
              segment.unlink();
              (void)collect_garbage();
              EXPECT_GT(alarms.load(), 0);
              const itimerval never{};
              ASSERT_EQ(::setitimer(ITIMER_REAL, &never, nullptr), 0);
            }),
            0);
}

TEST_F(SharedMemoryTest, ThreadsCreateAttachAndUnlinkSideBySide) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 25; ++round) {
        auto segment = SharedMemory::create(4096);
        segment.writable_bytes()[0] = std::byte{1};
        const auto attached = SharedMemory::attach(segment.name(), Access::read_only);
        EXPECT_EQ(attached.bytes()[0], std::byte{1});
        segment.unlink();
      }
    });
  }
  for (auto& each : threads) each.join();
}

// Nobody can keep a peer from truncating a named segment; what it is then attached as is its real size.
TEST_F(SharedMemoryTest, ASegmentThatAPeerTruncatedIsAttachedAsWhatIsLeft) {
  const auto segment = SharedMemory::create(name_, 8192);
  ASSERT_EQ(::truncate(name_.path().c_str(), 5000), 0);
  EXPECT_EQ(SharedMemory::attach(name_).size_bytes(), 5000U);
  ASSERT_EQ(::truncate(name_.path().c_str(), 0), 0);
  EXPECT_EQ(attach_code(), std::errc::invalid_argument);
}

}  // namespace
}  // namespace runrig
