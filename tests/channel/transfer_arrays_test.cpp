#include "runrig/channel/transfer_arrays.hpp"

#include <gmock/gmock.h>

#include "python_peer.hpp"
#include "runrig/engine/transfer_eigen.hpp"
#include "samples.hpp"
#include "support.hpp"
#include "transfer_support.hpp"

// Arrays of ours and of Eigen, as numpy.ndarrays.
namespace runrig::pickle {
namespace {

using test_samples::encoded;
using test_samples::read_file;
using test_samples::refusal;
using test_samples::write_file;
using ::testing::HasSubstr;

static_assert(std::is_same_v<Received<ByValue<float>>, NdArray<float>>);
static_assert(std::is_same_v<Received<Eigen::Map<const Eigen::VectorXd>>, Eigen::VectorXd>);
static_assert(Transferable<Eigen::Matrix3f> && Transferable<Eigen::ArrayXXcd> &&
              !Transferable<Eigen::Matrix<char, 2, 2>>);

template <class T>
class ByValueTest : public ::testing::Test {};
using Elements = ::testing::Types<bool, std::int8_t, std::uint16_t, std::int32_t, std::uint64_t, half, float, double,
                                  std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(ByValueTest, Elements);

template <class T>
NdArray<T> counted(const Shape& shape) {
  auto array = NdArray<T>::create_anonymous(shape);
  for (std::size_t i = 0; i < array.span().size(); ++i) array.span()[i] = static_cast<T>(static_cast<float>(i % 50));
  return array;
}

TYPED_TEST(ByValueTest, ArraysAndPartsOfThemArriveWithTheirElementsInEachProtocol) {
  for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{5}, Shape{2, 3}, Shape{2, 3, 4}}) {
    const auto array = counted<TypeParam>(shape);
    for (int protocol = 2; protocol <= 5; ++protocol) {
      const auto copy = decode<ByValue<TypeParam>>(encoded(by_value(array), {.protocol = protocol}));
      EXPECT_EQ(copy.shape(), shape);
      EXPECT_TRUE(std::ranges::equal(copy.bytes(), array.bytes()));
    }
  }
  const auto array = counted<TypeParam>({4, 6});
  const auto part = array.slice(1, {1, 6, 2});
  const auto copy = decode<ByValue<TypeParam>>(encoded(by_value(part)));
  ASSERT_EQ(copy.shape(), (Shape{4, 3}));
  EXPECT_EQ(copy(3, 2), array(3, 5));
}

TYPED_TEST(ByValueTest, BothByteOrdersAndMemoryOrdersAreRead) {
  const auto array = counted<TypeParam>({2, 3});
  const std::size_t item = sizeof(TypeParam);
  const std::size_t part = is_complex(dtype_of<TypeParam>) ? item / 2 : item;
  std::vector<std::byte> content;
  for (std::size_t column = 0; column < 3; ++column) {
    for (std::size_t row = 0; row < 2; ++row) {
      const auto element = array.bytes().subspan((row * 3 + column) * item, item);
      for (std::size_t i = 0; i < item; ++i) content.push_back(element[i / part * part + part - 1 - i % part]);
    }
  }
  const std::string dtype = (item == 1 ? "|" : ">") + std::string(dtype_string(dtype_of<TypeParam>).substr(1));
  const NdBuffer foreign(dtype, {2, 3}, Order::fortran, content);
  const auto copy = decode<ByValue<TypeParam>>(encoded(foreign));
  EXPECT_TRUE(std::ranges::equal(copy.bytes(), array.bytes()));
  EXPECT_TRUE(std::ranges::equal(decode<ByValue<TypeParam>>(dumps(foreign, 3)).bytes(), array.bytes()));
}

TEST(TransferArraysTest, BytesThatAreNoBoolBecomeOne) {
  const auto copy = decode<ByValue<bool>>(encoded(NdBuffer("|b1", {2}, Order::c, {std::byte{0}, std::byte{0xFE}})));
  EXPECT_EQ(std::to_integer<int>(std::as_const(copy).bytes()[1]), 1);
}

TEST(TransferArraysTest, OtherElementTypesAreRefusedByName) {
  EXPECT_THAT(refusal<ByValue<float>>(encoded(by_value(counted<double>({2})))),
              HasSubstr("expected an array of float32, found <f8"));
  EXPECT_THAT(refusal<Eigen::VectorXd>(encoded(by_value(counted<int>({2})))),
              HasSubstr("expected an array of float64, found <i4"));
  EXPECT_THAT(refusal<Eigen::VectorXd>(encoded("x")), HasSubstr("expected numpy.ndarray, found str"));
}

TEST(TransferArraysTest, CopiesOfOneArrayAreChargedEachTime) {
  const NdBuffer array("<f8", {100'000}, Order::c, std::vector<std::byte>(800'000));
  const auto bytes = dumps(Object::list(std::vector<Object>(1000, Object(array))));
  EXPECT_THAT(refusal<std::vector<Eigen::VectorXd>>(bytes), HasSubstr("Limits::max_memory"));
}

TEST(TransferEigenTest, MatricesVectorsAndArraysComeBackInEachProtocol) {
  const auto expect_back = [](const auto& value) {
    using T = std::decay_t<decltype(value)>;
    for (int protocol = 2; protocol <= 5; ++protocol) {
      const typename T::PlainObject copy = decode<T>(encoded(value, {.protocol = protocol}));
      EXPECT_TRUE((copy.rows() == value.rows() && copy.cols() == value.cols()));
      EXPECT_TRUE((copy.array() == value.array()).all());
    }
  };
  Eigen::MatrixXd matrix(2, 3);
  matrix << 1, 2, 3, 4, 5, 6;
  expect_back(matrix);
  expect_back(Eigen::Matrix<float, 3, 2, Eigen::RowMajor>(matrix.transpose().cast<float>()));
  expect_back(Eigen::VectorXi(Eigen::VectorXi::LinSpaced(5, 0, 4)));
  expect_back(Eigen::RowVector3d(1, 2, 3));
  expect_back(Eigen::MatrixXd(0, 3));
  expect_back(Eigen::ArrayXXcf(matrix.cast<std::complex<float>>()));
  expect_back(Eigen::Map<const Eigen::Matrix2d>(matrix.data()));
  expect_back(Eigen::Array<bool, 2, 2>::Constant(true).eval());
}

TEST(TransferEigenTest, ShapesThatDoNotFitAreRefused) {
  const auto array = encoded(by_value(counted<double>({2, 3})));
  EXPECT_THAT(refusal<Eigen::VectorXd>(array), HasSubstr("cannot have"));
  EXPECT_THAT(refusal<Eigen::Matrix2d>(array), HasSubstr("(2, 3)"));
  EXPECT_THAT((refusal<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, 0, 2, 2>>(array)),
              HasSubstr("cannot have"));
  EXPECT_THAT(refusal<Eigen::MatrixXd>(encoded(by_value(counted<double>({6})))), HasSubstr("where a matrix"));
  EXPECT_THAT(refusal<Eigen::VectorXd>(encoded(by_value(counted<double>({1, 2, 3})))), HasSubstr("where a vector"));
  const NdBuffer wide("<f8", {0, ~std::uint64_t{0}}, Order::c, std::vector<std::byte>());
  EXPECT_THAT(refusal<Eigen::MatrixXd>(dumps(Object::tuple({}))), HasSubstr("numpy.ndarray"));
  EXPECT_THROW((void)encoded(wide), Error);
  EXPECT_EQ(decode<Eigen::VectorXd>(encoded(by_value(counted<double>({6, 1})))).size(), 6);
}

TEST(TransferEigenTest, NumpyHasTheMatrixAndSendsOthers) {
  RUNRIG_NEED_PYTHON(python, "numpy");
  const test::TemporaryDirectory directory;
  Eigen::MatrixXd matrix(2, 3);
  matrix << 1, 2, 3, 4, 5, 6;
  const Eigen::Matrix<std::int32_t, 2, 2, Eigen::RowMajor> rows{{1, 2}, {3, 4}};
  for (int protocol = 2; protocol <= 5; ++protocol) {
    write_file(directory / ("ours." + std::to_string(protocol)),
               encoded(std::tuple(matrix, rows, Eigen::Vector3f(1, 2, 3), by_value(counted<half>({2, 2}))),
                       {.protocol = protocol}));
  }
  const auto result = test::run_python(python, R"(
import io, numpy, pickle, pickletools, sys
for p in range(2, 6):
    data = open(f'{sys.argv[1]}/ours.{p}', 'rb').read()
    pickletools.dis(data, out=io.StringIO())
    m, r, v, h = pickle.loads(data)
    assert m.dtype == 'f8' and m.tolist() == [[1, 2, 3], [4, 5, 6]] and m.flags.f_contiguous
    assert r.dtype == 'i4' and r.tolist() == [[1, 2], [3, 4]] and r.flags.c_contiguous
    assert v.dtype == 'f4' and v.tolist() == [1, 2, 3]
    assert h.dtype == 'f2' and h.tolist() == [[0, 1], [2, 3]]
a = numpy.arange(6.).reshape(2, 3)
for p in range(6):
    for name, each in ('c', a), ('f', numpy.asfortranarray(a)), ('swapped', a.astype('>f8')), ('part', numpy.arange(12.).reshape(2, 6)[:, :3] - [[0], [3]]):
        pickle.dump(each, open(f'{sys.argv[1]}/{name}.{p}', 'wb'), p)
)",
                                       {directory.path().string()});
  ASSERT_EQ(result.exit_code, 0) << result.out << result.err;
  for (int protocol = 0; protocol <= 5; ++protocol) {
    for (const std::string name : {"c", "f", "swapped", "part"}) {
      const auto bytes = read_file(directory / (name + "." + std::to_string(protocol)));
      EXPECT_EQ(decode<Eigen::MatrixXd>(bytes), (matrix.array() - 1).matrix()) << name << protocol;
      EXPECT_EQ((decode<Eigen::Matrix<double, 2, 3, Eigen::RowMajor>>(bytes)), (matrix.array() - 1).matrix());
      EXPECT_EQ(decode<ByValue<double>>(bytes)(1, 2), 5.0) << name << protocol;
    }
  }
}

}  // namespace
}  // namespace runrig::pickle
