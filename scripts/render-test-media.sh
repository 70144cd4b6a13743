#!/usr/bin/env bash
# Renders the small videos and pictures which the tests of juror-media read, from FFmpeg's own test sources.
# Usage: scripts/render-test-media.sh OUTDIR      (needs the `ffmpeg` program; a few seconds on two cores)
set -euo pipefail
export LC_ALL=C

out=${1:?usage: $0 OUTDIR}
mkdir -p "$out"
cd "$out"

# ff ARGUMENTS...: quiet, overwriting, reproducible.
ff() { ffmpeg -v error -nostdin -y "$@"; }
pattern() { echo "testsrc2=size=$1:rate=${2:-25}:duration=${3:-2}"; }
x264=(-c:v libx264 -preset ultrafast -threads 1 -pix_fmt yuv420p)
lossless=(-c:v ffv1 -threads 1)

# --- plain videos -----------------------------------------------------------------------------------------------------
ff -f lavfi -i "$(pattern 320x240)" "${x264[@]}" -preset veryfast -bf 2 -g 10 plain.mp4
ff -i plain.mp4 -c copy plain.mkv
ff -i plain.mp4 -c copy plain.ts
ff -i plain.mp4 -c copy -bsf:v h264_mp4toannexb raw.h264
ff -i plain.mp4 -c copy -f mp4 "video-in-disguise.txt"
ff -i plain.mp4 -c copy -output_ts_offset 5 -copyts offset.mkv
ff -ss 0.5 -i plain.mp4 -c copy edit-list.mp4
ff -i plain.mp4 -c copy -f avi bframes.avi
ff -f lavfi -i "$(pattern 320x240)" "${x264[@]}" -frames:v 1 one-frame.mp4
ff -f lavfi -i "$(pattern 320x240 25 0.4),scale=321:241" "${lossless[@]}" -pix_fmt yuv420p odd.mkv
ff -f lavfi -i "$(pattern 320x240 25 0.4),scale=321:241" -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p odd.webm
ff -f lavfi -i "$(pattern 64x48 1 7200)" "${x264[@]}" -g 600 -crf 40 two-hours.mkv

# Variable frame rate: 25 frames a second, of which the second second keeps every fifth only.
ff -f lavfi -i "$(pattern 320x240 25 3)" -vf "select='not(between(n,25,49))+not(mod(n,5))'" -fps_mode vfr "${x264[@]}" vfr.mp4
ff -i vfr.mp4 -c copy vfr.mkv

# --- sample formats and colour ----------------------------------------------------------------------------------------
for format in yuv422p yuv444p yuv420p10le yuv422p10le yuv444p12le yuv411p gray gray10le yuva420p yuv444p16le; do
  ff -f lavfi -i "$(pattern 162x122 25 0.2)" -vf format=$format "${lossless[@]}" "$format.mkv"
done
ff -f lavfi -i "$(pattern 162x122 25 0.2)" -vf format=gbrp "${lossless[@]}" gbrp.mkv
ff -f lavfi -i "$(pattern 162x122 25 0.2)" -vf format=bgra -c:v rawvideo bgra.avi
ff -f lavfi -i "$(pattern 162x122 25 0.2)" -vf format=nv12 -c:v rawvideo nv12.nut
ff -f lavfi -i "$(pattern 162x122 25 0.2)" -vf format=yuyv422 -c:v rawvideo yuyv422.nut
ff -f lavfi -i "$(pattern 320x240 25 0.4)" -vf format=yuv420p10le -c:v libx265 -preset ultrafast \
  -x265-params log-level=none:pools=1 ten-bit.mp4
tagged() { # tagged NAME MATRIX PRIMARIES TRANSFER RANGE PIXEL_FORMAT
  ff -f lavfi -i "$(pattern 320x240 25 0.4)" -vf "scale=out_range=$5:out_color_matrix=${2/nc/},format=$6" \
    -colorspace "$2" -color_primaries "$3" -color_trc "$4" -color_range "$5" "${lossless[@]}" "$1"
}
tagged bt601.mkv smpte170m smpte170m smpte170m tv yuv420p
tagged bt709.mkv bt709 bt709 bt709 tv yuv420p
tagged bt2020.mkv bt2020nc bt2020 bt709 tv yuv420p10le
tagged full-range.mkv bt709 bt709 bt709 pc yuv420p
# The upper half of these is a ramp of greys from black to the peak.
ramp="yuv420p10le,geq=lum='if(lt(Y,H/2),64+876*X/(W-1),lum(X,Y))':cb='if(lt(Y,H/2),512,cb(X,Y))':cr='if(lt(Y,H/2),512,cr(X,Y))'"
tagged pq.mkv bt2020nc bt2020 smpte2084 tv "$ramp"
tagged hlg.mkv bt2020nc bt2020 arib-std-b67 tv "$ramp"

# --- geometry ---------------------------------------------------------------------------------------------------------
for turn in 90 180 270; do
  ff -display_rotation $turn -i plain.mp4 -c copy "rotated-$turn.mp4" 2>/dev/null ||
    ff -i plain.mp4 -c copy -metadata:s:v:0 rotate=$turn "rotated-$turn.mp4"
done
ff -f lavfi -i "$(pattern 320x240 25 0.4),setsar=4/3" "${x264[@]}" wide-samples.mp4
ff -f lavfi -i "$(pattern 320x240 25 0.4),setsar=8/9" "${x264[@]}" tall-samples.mp4
ff -f lavfi -i "$(pattern 320x240 50 0.4)" -vf "interlace=scan=tff" "${x264[@]}" -flags +ildct+ilme interlaced.mp4

# --- still pictures ---------------------------------------------------------------------------------------------------
ff -f lavfi -i "$(pattern 160x120),scale=161:121" -frames:v 1 -pix_fmt rgb24 still.png
ff -f lavfi -i "$(pattern 160x120)" -frames:v 1 -pix_fmt rgb48be still-16-bit.png
ff -f lavfi -i "$(pattern 160x120)" -frames:v 1 -pix_fmt gray still-grey.png
ff -f lavfi -i "color=red@0.5:size=160x120,format=rgba" -frames:v 1 still-alpha.png
ff -f lavfi -i "$(pattern 160x120),scale=161:121" -frames:v 1 -pix_fmt yuvj420p still.jpg
ff -f lavfi -i "$(pattern 160x120)" -frames:v 1 -c:v libwebp still.webp
# The same JPEG with an Exif orientation of 6: to be turned a quarter clockwise.
{
  head -c 2 still.jpg
  printf '\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00'
  tail -c +3 still.jpg
} >still-turned.jpg
cp still.jpg "still-%03d.jpg"
cp still.png picture-in-disguise.mp4

# --- audio, and pictures that are no video ----------------------------------------------------------------------------
tone=(-f lavfi -i "sine=frequency=440:duration=2")
ff "${tone[@]}" -c:a pcm_s16le audio-only.wav
ff "${tone[@]}" -i still.png -map 0 -map 1 -c:a libmp3lame -c:v copy -disposition:v attached_pic -id3v2_version 3 cover.mp3
ff -i still.png -i plain.mp4 "${tone[@]}" -map 0 -map 1 -map 2 -c copy -c:a aac -disposition:v:0 attached_pic cover-and-video.mp4
ff -i plain.mp4 -f lavfi -i "sine=frequency=440:duration=4" -map 0 -map 1 -c:v copy -c:a aac longer-audio.mkv

# --- damage -----------------------------------------------------------------------------------------------------------
cut() { head -c "$(($(stat -c %s "$1") * $2 / 100))" "$1" >"$3"; }
ff -i plain.mp4 -c copy -movflags +faststart faststart.mp4
cut faststart.mp4 60 truncated.mp4
cut plain.mkv 60 truncated.mkv
cut plain.mp4 60 truncated-without-index.mp4
cut still.png 1 truncated.png
cut faststart.mp4 12 header-only.mp4
: >empty.mp4
printf 'This is no video.\nIt is a text, in two lines.\n' >text.mp4
cp text.mp4 text.txt
printf '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nplain.ts\n#EXT-X-ENDLIST\n' >playlist.m3u8
printf '\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xff\xff\x00\x00\xff\xff\x08\x02\x00\x00\x00' >huge.png
# A live recording: its header states no duration.
ff -i plain.mp4 -c copy -f matroska - >no-duration.mkv
# A stretch of zeros in the middle of the video data.
cp faststart.mp4 damaged.mp4
dd if=/dev/zero of=damaged.mp4 bs=1 count=3000 seek="$(($(stat -c %s faststart.mp4) / 2))" conv=notrunc status=none
