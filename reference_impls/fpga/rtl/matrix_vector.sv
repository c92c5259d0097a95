// The folded matrix-vector unit for weights and inputs of -1 and +1, written by hand: a reference to read.
//
// It computes y[r] = sum over c of W[r][c] * x[c] for vectors that stream through it, PE rows times SIMD columns in each
// cycle. A bit is 1 for +1 and 0 for -1, so a product is an XNOR, and with p ones among n products their sum is
// 2 p - n. The accumulators start at -n and leave out the lowest bit, which is the parity of COLUMNS.
//
// Ports, cycles and outputs are those of MatrixVector(weights, 1, "bipolar", PE, SIMD, rom="lut") in matrix_vector.py:
//   s_axis  SIMD inputs a beat, COLUMNS / SIMD beats a vector
//   m_axis  PE accumulators a beat, ROWS / PE beats a vector, WIDTH bits each, two's complement
//   a vector takes (ROWS / PE) * (COLUMNS / SIMD) cycles; the first output comes COLUMNS / SIMD + 2 cycles after the
//   first input was taken
// WEIGHTS is a file for $readmemh, a line for each cycle of a vector: the row folds, and in each the column folds. The
// first row has the lowest SIMD bits of a word, the first column the lowest of these.

module matrix_vector #(
    parameter int ROWS    = 64,
    parameter int COLUMNS = 64,
    parameter int PE      = 8,   // divides ROWS
    parameter int SIMD    = 8,   // divides COLUMNS
    parameter     WEIGHTS = "weights.hex",

    localparam int WIDTH   = $clog2(COLUMNS + 1) + 1,  // holds -COLUMNS to COLUMNS
    localparam int S_BYTES = (SIMD + 7) / 8,
    localparam int M_BYTES = (PE * WIDTH + 7) / 8
) (
    input  logic                 clk,
    input  logic                 rst,
    /* verilator lint_off UNUSEDSIGNAL */  // AXI-Stream pads to whole bytes
    input  logic [8*S_BYTES-1:0] s_axis_tdata,
    /* verilator lint_on UNUSEDSIGNAL */
    input  logic                 s_axis_tvalid,
    output logic                 s_axis_tready,
    output logic [8*M_BYTES-1:0] m_axis_tdata,
    output logic                 m_axis_tvalid,
    input  logic                 m_axis_tready
);

  localparam int NF = ROWS / PE;     // row folds
  localparam int SF = COLUMNS / SIMD;  // column folds
  localparam int DEPTH = NF * SF;
  localparam int ADDRESS_BITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int COLUMN_BITS = SF > 1 ? $clog2(SF) : 1;
  localparam int COUNT_BITS = $clog2(SIMD + 1);
  localparam int SUM_BITS = WIDTH - 1;
  localparam int PARITY = COLUMNS % 2;
  localparam int START = (-COLUMNS - PARITY) / 2;

  // Where we are: the column fold, the address of the weights, and whether the vector comes from the stream (in the
  // first row fold) or from the buffer.
  logic [COLUMN_BITS-1:0] column;
  logic [ADDRESS_BITS-1:0] address;
  logic fresh;

  wire last_column = column == COLUMN_BITS'(SF - 1);
  wire last_address = address == ADDRESS_BITS'(DEPTH - 1);
  wire advance = !m_axis_tvalid || m_axis_tready;  // everything moves, unless a finished output waits
  wire valid = !fresh || s_axis_tvalid;
  assign s_axis_tready = advance && fresh;

  always_ff @(posedge clk) begin
    if (rst) begin
      column  <= '0;
      address <= '0;
      fresh   <= 1'b1;
    end else if (advance && valid) begin
      column  <= last_column ? '0 : column + 1'b1;
      address <= last_address ? '0 : address + 1'b1;
      if (last_column) fresh <= last_address;
    end
  end

  // Register 1: SIMD inputs and PE * SIMD weights.
  logic [SIMD-1:0] buffer[SF];
  logic [PE*SIMD-1:0] rom[DEPTH];
  initial $readmemh(WEIGHTS, rom);

  logic [SIMD-1:0] x;
  logic [PE*SIMD-1:0] w;
  logic x_valid, x_first, x_last;

  always_ff @(posedge clk) begin
    if (s_axis_tvalid && s_axis_tready) buffer[column] <= s_axis_tdata[SIMD-1:0];
    if (advance) begin
      x       <= fresh ? s_axis_tdata[SIMD-1:0] : buffer[column];
      w       <= rom[address];
      x_first <= column == '0;
      x_last  <= last_column;
      x_valid <= valid;
    end
    if (rst) x_valid <= 1'b0;
  end

  // Register 2: how many of the products are +1, for each row.
  function automatic logic [COUNT_BITS-1:0] ones(input logic [SIMD-1:0] bits);
    ones = '0;
    for (int i = 0; i < SIMD; i++) ones = ones + COUNT_BITS'(bits[i]);
  endfunction

  logic [PE*COUNT_BITS-1:0] counts;
  logic count_valid, count_first, count_last;

  always_ff @(posedge clk) begin
    if (advance) begin
      for (int row = 0; row < PE; row++) counts[row*COUNT_BITS+:COUNT_BITS] <= ones(~(x ^ w[row*SIMD+:SIMD]));
      count_first <= x_first;
      count_last  <= x_last;
      count_valid <= x_valid;
    end
    if (rst) count_valid <= 1'b0;
  end

  // Register 3: the accumulators, which are the output once the last column fold is in.
  logic [PE*SUM_BITS-1:0] sums;

  always_ff @(posedge clk) begin
    if (advance) begin
      if (count_valid)
        for (int row = 0; row < PE; row++)
          sums[row*SUM_BITS+:SUM_BITS] <=
              (count_first ? SUM_BITS'(START) : sums[row*SUM_BITS+:SUM_BITS])
              + SUM_BITS'(counts[row*COUNT_BITS+:COUNT_BITS]);
      m_axis_tvalid <= count_valid && count_last;
    end
    if (rst) m_axis_tvalid <= 1'b0;
  end

  always_comb begin
    m_axis_tdata = '0;
    for (int row = 0; row < PE; row++)
      m_axis_tdata[row*WIDTH+:WIDTH] = {sums[row*SUM_BITS+:SUM_BITS], 1'(PARITY)};
  end

endmodule
