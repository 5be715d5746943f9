#include "transfer.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "format.hpp"
#include "support.hpp"
#include "worker.hpp"

namespace runrig::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t small_bytes = 8 << 10;
constexpr std::size_t medium_bytes = 1 << 20;

TransferOptions quick() {
  TransferOptions options;
  options.sizes_bytes = {small_bytes, medium_bytes};
  options.turns = 3;
  return options;
}

TransferOptions quick_without_python() {
  TransferOptions options = quick();
  options.python = "/nonexistent/python";
  return options;
}

const TransferResult* find(const TransferReport& report, Route route, std::size_t size_bytes) {
  const auto found = std::ranges::find_if(
      report.results, [&](const auto& each) { return each.route == route && each.size_bytes == size_bytes; });
  return found == report.results.end() ? nullptr : &*found;
}

bool has_note(const TransferReport& report, std::string_view text) {
  return std::ranges::any_of(report.notes,
                             [&](const std::string& note) { return note.find(text) != std::string::npos; });
}

/// The segments that hold an array of a measurement's now, whosever it is.
std::vector<std::string> measured_segments() {
  std::vector<std::string> result;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    double head[4] = {};
    std::ifstream(entry.path(), std::ios::binary).read(reinterpret_cast<char*>(head), sizeof head);
    if (std::ranges::equal(head, std::array{0.0, 1.0, 2.0, 3.0})) result.push_back(entry.path());
  }
  return result;
}

/// Those of them that stay. Other tests measure at the same time and delete theirs within seconds; what we left has
/// nobody to delete it.
std::vector<std::string> left_segments() {
  std::vector<std::string> result = measured_segments();
  test::eventually(
      [&] {
        std::erase_if(result, [](const std::string& path) { return !std::filesystem::exists(path); });
        return result.empty();
      },
      30s);
  return result;
}

TEST(TransferTest, EveryRouteIsMeasuredAtEachSizeAndNothingIsLeft) {
  const auto report = measure_transfer(quick_without_python());
  for (const Route route : {Route::pipe_copy, Route::attach, Route::mapped}) {
    for (const std::size_t size_bytes : {small_bytes, medium_bytes}) {
      const auto* const result = find(report, route, size_bytes);
      ASSERT_NE(result, nullptr) << route_name(route) << size_bytes;
      EXPECT_EQ(result->turns, 3);
      EXPECT_GT(result->fastest_seconds, 0);
      EXPECT_LE(result->fastest_seconds, result->median_seconds);
      const double mapped = find(report, Route::mapped, size_bytes)->median_seconds;
      EXPECT_DOUBLE_EQ(result->ratio_to_mapped, result->median_seconds / mapped);
    }
  }
  EXPECT_EQ(left_segments(), std::vector<std::string>());
}

TEST(TransferTest, RealPythonIsMeasuredWhereThereIsOne) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  TransferOptions options = quick();
  options.python = python;
  const auto report = measure_transfer(options);
  ASSERT_NE(find(report, Route::python_pickle, small_bytes), nullptr);
  ASSERT_NE(find(report, Route::python_pickle, medium_bytes), nullptr);
  EXPECT_EQ(find(report, Route::python_pickle, medium_bytes)->turns, 3);
}

TEST(TransferTest, NoPythonIsANoteAndNoFailure) {
  const auto report = measure_transfer(quick_without_python());
  EXPECT_EQ(find(report, Route::python_pickle, small_bytes), nullptr);
  EXPECT_TRUE(has_note(report, "'/nonexistent/python' is no Python with NumPy"));
}

TEST(TransferTest, SizesBeyondTheLimitAreANote) {
  TransferOptions options = quick_without_python();
  options.max_bytes = small_bytes;
  const auto report = measure_transfer(options);
  EXPECT_EQ(find(report, Route::mapped, medium_bytes), nullptr);
  EXPECT_TRUE(has_note(report, "1 MiB left out: larger than the limit of 8 KiB"));
}

TEST(TransferTest, MoreThanTheMachineHasIsANote) {
  TransferOptions options = quick_without_python();
  options.sizes_bytes = {small_bytes, std::size_t{1} << 50};
  options.max_bytes = std::size_t{1} << 60;
  const auto report = measure_transfer(options);
  EXPECT_NE(find(report, Route::mapped, small_bytes), nullptr);
  EXPECT_EQ(find(report, Route::mapped, std::size_t{1} << 50), nullptr);
  EXPECT_TRUE(has_note(report, "left out for 'copied by pipe'"));
  EXPECT_TRUE(has_note(report, "left out in shared memory"));
}

TEST(TransferTest, ASizeThatIsNoArrayIsTheCallersMistake) {
  for (const std::size_t size_bytes : {std::size_t{0}, std::size_t{12}}) {
    TransferOptions options = quick_without_python();
    options.sizes_bytes = {size_bytes};
    EXPECT_THROW((void)measure_transfer(options), std::logic_error);
  }
}

TEST(TransferTest, ACallerCanEndItAndNothingIsLeft) {
  TransferOptions options = quick_without_python();
  int asked = 0;
  options.cancelled = [&asked] { return ++asked > 6; };  // in the middle of the second route
  EXPECT_THROW((void)measure_transfer(options), Cancelled);
  EXPECT_EQ(left_segments(), std::vector<std::string>());
}

TEST(TransferWorkerTest, SumsAreThoseOfAPlainLoop) {
  std::vector<double> values(1003);
  std::iota(values.begin(), values.end(), -300.0);
  for (const std::size_t count : {0, 1, 7, 8, 9, 64, 1003}) {
    const auto part = std::span(values).first(count);
    EXPECT_EQ(sum_of(part), std::accumulate(part.begin(), part.end(), 0.0)) << count;
  }
}

TEST(TransferWorkerTest, AWorkerThatFailsOrDiesIsAnErrorThatSaysSo) {
  Worker failing("failing", [] { return []() -> double { throw std::runtime_error("no such luck"); }; }, {});
  EXPECT_NE(test::thrown_text([&] { failing.ask(); }).find("no such luck"), std::string::npos);
  Worker unprepared("unprepared", []() -> std::function<double()> { throw std::runtime_error("no memory"); }, {});
  EXPECT_NE(test::thrown_text([&] { unprepared.ask(); }).find("no memory"), std::string::npos);
  Worker dying("dying", [] { return []() -> double { ::_exit(3); }; }, {});
  EXPECT_EQ(test::thrown_code([&] { dying.ask(); }), std::errc::no_such_process);
}

TransferReport sample_report() {
  TransferReport report;
  report.machine = "CPU <\"A&B\">";
  report.notes = {"a note with a broken \xff byte"};
  report.results = {{Route::python_pickle, small_bytes, 3, 90e-6, 80e-6, 2.0},
                    {Route::mapped, small_bytes, 3, 45e-6, 40e-6, 1.0},
                    {Route::pipe_copy, medium_bytes, 3, 0.0123, 0.01, 0.0}};
  return report;
}

TEST(TransferWorkerTest, PlacementIsUndoneAtItsEnd) {
  cpu_set_t before, during, after;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  {
    const Placement placement;
    ASSERT_EQ(::sched_getaffinity(0, sizeof during, &during), 0);
    EXPECT_EQ(placement.asking_cpu().has_value(), CPU_COUNT(&before) > 1);
    EXPECT_EQ(CPU_COUNT(&during), 1);
    if (placement.worker_cpu()) {
      EXPECT_FALSE(CPU_ISSET(*placement.worker_cpu(), &during));
    }
  }
  ASSERT_EQ(::sched_getaffinity(0, sizeof after, &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(TransferReportTest, JsonHoldsEveryFigureAndNullWhereThereIsNone) {
  const auto json = nlohmann::json::parse(to_json(sample_report()));
  EXPECT_EQ(json["machine"], "CPU <\"A&B\">");
  ASSERT_EQ(json["results"].size(), 3U);
  EXPECT_EQ(json["results"][0]["route"], "python_pickle");
  EXPECT_EQ(json["results"][0]["size_bytes"], small_bytes);
  EXPECT_EQ(json["results"][0]["median_seconds"], 90e-6);
  EXPECT_EQ(json["results"][0]["ratio_to_mapped"], 2.0);
  EXPECT_TRUE(json["results"][2]["ratio_to_mapped"].is_null());
  EXPECT_EQ(json["notes"].size(), 1U);
}

TEST(TransferReportTest, TheTableShowsTimesRatiosGapsAndNotes) {
  std::ostringstream out;
  print_table(out, sample_report());
  for (const char* text : {"8 KiB", "90.0 µs   2.0x", "45.0 µs", "1 MiB", "12.3 ms", " -", "note: a note"}) {
    EXPECT_NE(out.str().find(text), std::string::npos) << text << "\n" << out.str();
  }
  for (const auto& [seconds, text] : {std::pair{1.234e-6, "1.23 µs"}, {0.0999, "99.9 ms"}, {12.34, "12.3 s"}}) {
    EXPECT_EQ(format_seconds(seconds), text);
  }
}

TEST(TransferReportTest, ThePlotIsWellFormedXmlWithALabelForEachRatio) {
  RUNRIG_NEED_PYTHON(python, "xml.etree.ElementTree");
  const test::TemporaryDirectory directory;
  write_svg(directory / "plot.svg", sample_report());
  write_svg(directory / "empty.svg", {});
  const auto result = test::run_python(python, R"(
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1] + '/plot.svg').getroot()
name = '{http://www.w3.org/2000/svg}'
assert root.tag == name + 'svg', root.tag
texts = [each.text for each in root.iter(name + 'text')]
assert 'CPU <"A&B">' in texts, texts
assert '2.0x' in texts and '8 KiB' in texts and '1 MiB' in texts, texts
assert len(list(root.iter(name + 'circle'))) == 3
for each in root.iter(name + 'circle'):
    assert 0 <= float(each.get('cx')) <= 860 and 0 <= float(each.get('cy')) <= 560
tree.parse(sys.argv[1] + '/empty.svg')
)",
                                       {directory.path().string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 2) << "no temporary file is left";
}

TEST(TransferReportTest, APlotThatCannotBeWrittenIsAnError) {
  EXPECT_EQ(test::thrown_code([] { write_svg("/nonexistent/plot.svg", {}); }), std::errc::no_such_file_or_directory);
  const test::TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "taken");
  EXPECT_EQ(test::thrown_code([&] { write_svg(directory / "taken", {}); }), std::errc::is_a_directory);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);
}

}  // namespace
}  // namespace runrig::bench
