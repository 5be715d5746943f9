#include "layering.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "source_directory.hpp"
#include "support.hpp"

namespace runrig {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(LayeringTest, NoIncludeOfTheProjectRunsUp) {
  const auto report = test::check_layering(test::source_directory());
  EXPECT_THAT(report.violations, IsEmpty());
}

TEST(LayeringTest, EveryRoomWasReallyRead) {
  const auto report = test::check_layering(test::source_directory());
  for (const char* const room : {"sync", "shm", "channel", "hdf5", "engine", "batch", "apps"}) {
    ASSERT_EQ(report.files_of_room.count(room), 1U) << room;
    ASSERT_EQ(report.includes_of_room.count(room), 1U) << room;
  }
}

/// The test of the test: a tree of its own, with one file in it at a time.
class MadeUpTreeTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name) << text;
  }
  std::vector<std::string> violations() { return test::check_layering(directory_.path()).violations; }

  const test::TemporaryDirectory directory_;
};

struct IncludeCase {
  const char* label;
  const char* file;
  const char* line;
};
void PrintTo(const IncludeCase& each, std::ostream* stream) { *stream << each.file << ": " << each.line; }

class ForbiddenIncludeTest : public MadeUpTreeTest, public ::testing::WithParamInterface<IncludeCase> {};

TEST_P(ForbiddenIncludeTest, IsFoundWithItsFileAndLine) {
  write("shm/private.hpp", "");
  write(GetParam().file, std::string("// a comment\n") + GetParam().line + "\n");
  EXPECT_THAT(violations(), ElementsAre(StartsWith(std::string(GetParam().file) + ":2 includes ")));
}

INSTANTIATE_TEST_SUITE_P(
    Includes, ForbiddenIncludeTest,
    ::testing::Values(
        IncludeCase{"sync_knows_shm", "sync/lock.cpp", "#include \"runrig/shm/shape.hpp\""},
        IncludeCase{"shm_knows_io", "shm/include/runrig/shm/a.hpp", "#include \"runrig/channel/pickle.hpp\""},
        IncludeCase{"shm_knows_engine_in_brackets", "shm/a.cpp", "  #  include <runrig/engine/pool.hpp>  // why not"},
        IncludeCase{"channel_knows_hdf5", "io/channel/a.cpp", "#include \"runrig/hdf5/dataset.hpp\""},
        IncludeCase{"hdf5_knows_channel", "io/hdf5/a.cpp", "#include \"runrig/channel/pickle.hpp\""},
        IncludeCase{"engine_knows_hdf5", "engine/kernel/a.cpp", "#include \"runrig/hdf5/dataset.hpp\""},
        IncludeCase{"engine_knows_batch", "engine/pool/a.cpp", "#include \"runrig/batch/batch.hpp\""},
        IncludeCase{"batch_knows_apps", "engine/batch/a.cpp", "#include \"runrig/apps/options.hpp\""},
        IncludeCase{"a_room_knows_them_all", "engine/batch/a.cpp", "#include \"runrig/runrig.hpp\""},
        IncludeCase{"private_header_of_another_room", "io/hdf5/a.cpp", "#include \"../../shm/private.hpp\""},
        IncludeCase{"header_from_nowhere", "io/hdf5/a.cpp", "#include \"private.hpp\""},
        IncludeCase{"hdf5_library_in_engine", "engine/batch/a.cpp", "#include <hdf5.h>"},
        IncludeCase{"hdf5_library_in_public", "io/hdf5/include/runrig/hdf5/a.hpp", "#include <H5Dpublic.h>"},
        IncludeCase{"tbb_in_public", "engine/include/runrig/engine/a.hpp", "#include <tbb/parallel_for.h>"},
        IncludeCase{"boost_in_public", "shm/include/runrig/shm/a.hpp", "#include <boost/interprocess/offset_ptr.hpp>"},
        IncludeCase{"eigen_below_engine", "shm/a.cpp", "#include <Eigen/Core>"}),
    [](const auto& each) { return std::string(each.param.label); });

class AllowedIncludeTest : public MadeUpTreeTest, public ::testing::WithParamInterface<IncludeCase> {};

TEST_P(AllowedIncludeTest, IsLeftInPeace) {
  write("engine/kernel/slices.hpp", "");
  write("apps/version.hpp.in", "");
  write("bench/transfer/transfer.hpp", "");
  write(GetParam().file, std::string(GetParam().line) + "\n");
  EXPECT_THAT(violations(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Includes, AllowedIncludeTest,
    ::testing::Values(
        IncludeCase{"down_one_floor", "shm/a.cpp", "#include \"runrig/sync/lock.hpp\""},
        IncludeCase{"down_to_the_ground", "apps/main.cpp", "#include \"runrig/sync/error.hpp\""},
        IncludeCase{"the_house_from_an_app", "apps/main.cpp", "#include \"runrig/runrig.hpp\""},
        IncludeCase{"batch_knows_hdf5", "engine/batch/a.cpp", "#include \"runrig/hdf5/dataset.hpp\""},
        IncludeCase{"sideways_in_a_room", "engine/pool/a.cpp", "#include \"runrig/engine/kernel.hpp\""},
        IncludeCase{"private_header_from_the_room", "engine/pool/a.cpp", "#include \"kernel/slices.hpp\""},
        IncludeCase{"private_header_beside", "engine/kernel/a.cpp", "#include \"slices.hpp\""},
        IncludeCase{"header_made_by_cmake", "apps/main.cpp", "#include \"version.hpp\""},
        IncludeCase{"the_benchmark_from_the_command", "apps/bench_command.cpp", "#include \"transfer.hpp\""},
        IncludeCase{"the_library_where_it_belongs", "io/hdf5/a.cpp", "#include <hdf5.h>"},
        IncludeCase{"boost_in_a_source", "shm/a.cpp", "#include <boost/interprocess/mapped_region.hpp>"},
        IncludeCase{"the_system", "sync/a.cpp", "#include <sys/mman.h>"}),
    [](const auto& each) { return std::string(each.param.label); });

TEST_F(MadeUpTreeTest, AFileOutsideOfEveryRoomIsNoticed) {
  write("io/stray.cpp", "");
  EXPECT_THAT(violations(), ElementsAre("io/stray.cpp lies in no room"));
}

}  // namespace
}  // namespace runrig
