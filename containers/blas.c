/* The few linear-algebra routines that serving a photograph needs, under the names by which NumPy
 * calls the OpenBLAS of its wheel.
 *
 * OpenBLAS is a quarter of a lean image, but the server uses it only for a blur (matrix products)
 * and for a measure of sharpness (a scalar product).  This file has these routines in plain C.  A
 * call of any other routine prints its name and ends the process (see slim_numpy.sh), so that no
 * result is wrong.
 *
 * The interface: CBLAS with 64-bit integers, https://www.netlib.org/blas/#_cblas.
 */
#include <stddef.h>
#include <stdint.h>

typedef int64_t whole;

enum { ROW_MAJOR = 101, COLUMN_MAJOR = 102, NO_TRANS = 111 };

#if defined(__x86_64__)
#define FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_CPU
#endif

/* A vector with a negative step starts at its end. */
static whole start(whole n, whole step) { return step < 0 ? (1 - n) * step : 0; }

#define ROUTINES(p, real)                                                                         \
  FOR_EACH_CPU static void p##_add_row(whole n, real factor, const real *restrict from,           \
                                       real *restrict to) {                                       \
    for (whole i = 0; i < n; i++) to[i] += factor * from[i];                                      \
  }                                                                                               \
                                                                                                  \
  real scipy_cblas_##p##dot64_(whole n, const real *x, whole x_step, const real *y,               \
                               whole y_step) {                                                    \
    real sum = 0;                                                                                 \
    const real *a = x + start(n, x_step), *b = y + start(n, y_step);                              \
    for (whole i = 0; i < n; i++) sum += a[i * x_step] * b[i * y_step];                           \
    return sum;                                                                                   \
  }                                                                                               \
                                                                                                  \
  void scipy_cblas_##p##axpy64_(whole n, real factor, const real *x, whole x_step, real *y,       \
                                whole y_step) {                                                   \
    const real *a = x + start(n, x_step);                                                         \
    real *b = y + start(n, y_step);                                                               \
    for (whole i = 0; i < n; i++) b[i * y_step] += factor * a[i * x_step];                        \
  }                                                                                               \
                                                                                                  \
  /* C = alpha A B + beta C, all by rows; element (i, k) of A is a[i * a_row + k * a_column]. */  \
  static void p##_product(whole m, whole n, whole k, real alpha, const real *a, whole a_row,      \
                          whole a_column, const real *b, whole b_row, whole b_column, real beta,  \
                          real *c, whole c_row) {                                                 \
    for (whole i = 0; i < m; i++) {                                                               \
      real *row = c + i * c_row;                                                                  \
      for (whole j = 0; j < n; j++) row[j] = beta == 0 ? 0 : beta * row[j];                       \
      for (whole l = 0; l < k; l++) {                                                             \
        const real factor = alpha * a[i * a_row + l * a_column];                                  \
        if (b_column == 1)                                                                        \
          p##_add_row(n, factor, b + l * b_row, row);                                             \
        else                                                                                      \
          for (whole j = 0; j < n; j++) row[j] += factor * b[l * b_row + j * b_column];           \
      }                                                                                           \
    }                                                                                             \
  }                                                                                               \
                                                                                                  \
  void scipy_cblas_##p##gemm64_(int order, int trans_a, int trans_b, whole m, whole n, whole k,   \
                                real alpha, const real *a, whole lda, const real *b, whole ldb,   \
                                real beta, real *c, whole ldc) {                                  \
    const int a_trans = trans_a != NO_TRANS, b_trans = trans_b != NO_TRANS;                       \
    if (order == ROW_MAJOR)                                                                       \
      p##_product(m, n, k, alpha, a, a_trans ? 1 : lda, a_trans ? lda : 1, b,                     \
                  b_trans ? 1 : ldb, b_trans ? ldb : 1, beta, c, ldc);                            \
    else /* by columns, C is B'A' by rows */                                                      \
      p##_product(n, m, k, alpha, b, b_trans ? 1 : ldb, b_trans ? ldb : 1, a,                     \
                  a_trans ? 1 : lda, a_trans ? lda : 1, beta, c, ldc);                            \
  }                                                                                               \
                                                                                                  \
  void scipy_cblas_##p##gemv64_(int order, int trans, whole m, whole n, real alpha,               \
                                const real *a, whole lda, const real *x, whole x_step, real beta, \
                                real *y, whole y_step) {                                          \
    const int by_rows = (order == ROW_MAJOR) == (trans == NO_TRANS);                              \
    const whole rows = trans == NO_TRANS ? m : n, columns = trans == NO_TRANS ? n : m;            \
    const real *from = x + start(columns, x_step);                                                \
    real *to = y + start(rows, y_step);                                                           \
    for (whole i = 0; i < rows; i++) {                                                            \
      real sum = 0;                                                                               \
      for (whole j = 0; j < columns; j++)                                                         \
        sum += a[by_rows ? i * lda + j : j * lda + i] * from[j * x_step];                         \
      to[i * y_step] = alpha * sum + (beta == 0 ? 0 : beta * to[i * y_step]);                     \
    }                                                                                             \
  }                                                                                               \
                                                                                                  \
  /* Both triangles are written, although a caller needs only one. */                             \
  void scipy_cblas_##p##syrk64_(int order, int uplo, int trans, whole n, whole k, real alpha,     \
                                const real *a, whole lda, real beta, real *c, whole ldc) {        \
    (void)uplo;                                                                                   \
    const int by_rows = (order == ROW_MAJOR) == (trans == NO_TRANS);                              \
    const whole row = by_rows ? lda : 1, column = by_rows ? 1 : lda;                              \
    p##_product(n, n, k, alpha, a, row, column, a, column, row, beta, c, ldc);                    \
  }

ROUTINES(s, float)
ROUTINES(d, double)
