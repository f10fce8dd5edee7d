# Plots the figures of test/bench: gnuplot -e "figures='FILE'; original='FILE'; store='NAME'; drawing='FILE'" plot.gp
set terminal svg size 900,360 font "sans-serif,12" background "white"
set output drawing
set multiplot layout 1,2
set logscale x
set format x "10^{%T}"
set xlabel "N"
set xrange [5:2000000]
set grid

set title "Messages a second, and time for each"
set key top center
set format y "%.0s%c"
set yrange [0:*]
set ylabel "messages/s"
set logscale y2
set y2tics
set format y2 "%g"
set y2label "µs a message"
plot figures using 1:3 with linespoints pt 7 lc rgb "#1f77b4" title "messages/s", \
     figures using 1:4 axes x1y2 with linespoints pt 5 dt 2 lc rgb "#ff7f0e" title "µs a message"

unset y2tics
unset y2label
unset logscale y2
set title "Time of a whole run"
set key bottom right
set logscale y
set yrange [5:20000]
set format y "%g"
set ylabel "ms"
plot original using 1:2 with linespoints pt 9 lc rgb "#d62728" title "the original, into Aerospike", \
     figures using 1:2 with linespoints pt 7 lc rgb "#1f77b4" title "x-msrv, into ".store
