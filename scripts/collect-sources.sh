#!/usr/bin/env bash
# Makes source clips of contents that few real clips show, to widen nano's training set: computer animation and
# motion graphics (the XScreenSaver collection, recorded), scrolling text, web pages in use, games, photographs under
# a moving camera, and flat drawings in motion.
#
#   scripts/collect-sources.sh [DIR]     default runs/sources; writes DIR/*.mkv and DIR.csv, goes on where it was
#
# Everything comes from packages of Debian 12 with free licences (MIT-like, GPL, CC0, CC-BY-SA; see
# /usr/share/doc/PACKAGE/copyright). The choice follows from a seed; what the recorded programs draw does not, so
# a second run gives other clips of the same kind. The better part of an hour on two cores. A training-time tool only.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/sources}
mkdir -p "$out"

packages=(
  xvfb xterm libgl1-mesa-dri fonts-dejavu
  xscreensaver-data xscreensaver-data-extra xscreensaver-gl xscreensaver-gl-extra
  gnome-backgrounds mate-backgrounds plasma-workspace-wallpapers openclipart-png
  chromium xdotool
)
# Those that draw their pictures on the processor: `package`, or `package:program and arguments` where they differ.
games=(
  airstrike amoebax angrydd atanks blobby bumprace burgerspace "chocolate-doom:chocolate-doom -iwad /usr/share/games/doom/freedoom1.wad"
  circuslinux dodgindiamond2 enigma fillets-ng:fillets frozen-bubble funnyboat hedgewars heroes hex-a-hop holotz-castle
  icebreaker jumpnbump kobodeluxe lbreakout2 lincity-ng ltris monsterz moon-lander mrboom neverball numptyphysics openttd
  pacman pingus powermanga raincat solarwolf starfighter supertux:supertux2 toppler triplane tuxpuck warmux whichwayisup
  xgalaga xjump xmoto
)
packages+=("${games[@]%%:*}" freedoom openttd-opengfx)
if ! dpkg-query --show "${packages[@]}" >/dev/null 2>&1; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
fi

secs=3
sizes=(640x360 854x480 640x360 480x360 360x640 854x480)
encode=(-t "$secs" -an -c:v libx264 -preset ultrafast -crf 4 -pix_fmt yuv420p)
ffmpeg=(nice -n -5 ffmpeg -nostdin -loglevel error -y)
nice -n -5 true 2>/dev/null || ffmpeg=("${ffmpeg[@]:3}")

# A number 0..$2-1 that follows from the text $1.
pick() {
  local sum
  sum=$(printf %s "$1" | cksum)
  echo $((${sum%% *} % $2))
}
# finish FILE [LEAST BYTES]: keeps FILE.part.mkv as FILE, unless next to nothing moves in it or it is nearly all black.
finish() {
  local black frames
  black=$(ffmpeg -nostdin -ss "$((secs / 2))" -i "$1.part.mkv" -frames:v 1 \
    -vf scale=320:-2,blackframe=amount=0:threshold=34 -f null - 2>&1 | sed -n 's/.*pblack:\([0-9]*\).*/\1/p' | head -n 1)
  frames=$(ffprobe -v error -select_streams v -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$1.part.mkv")
  if [ "$(stat -c %s "$1.part.mkv")" -ge "${2:-150000}" ] && [ "${frames:-0}" -ge 24 ] && [ "${black:-0}" -lt 90 ]; then
    mv "$1.part.mkv" "$1"
  else
    rm "$1.part.mkv"
  fi
}

# What needs pictures of its own, the network or minutes to begin is left out.
hacks() {
  ls /usr/libexec/xscreensaver | grep -vxE 'xscreensaver-.*|mapscroller.*|webcollage|antspotlight|blitspin|bumps|carousel|decayscreen|distort|esper|flipscreen3d|glblur|glplanet|glslideshow|jigsaw|mirrorblob|photopile|ripples|rotzoomer|slidescreen|slip|spotlight|tessellimage|twang|vidwhacker|zoom|starwars|fontglide|fliptext|phosphor|apple2|xanalogtv|xmatrix|xjack|noseguy|memscroller|scooter|dymaxionmap|filmleader|endgame|queens|unicrud|glschool|lavalite|vigilance|greynetic|winduprobot|sonar|gltext|bsod|cwaves'
}
# show DISPLAY SIZE COMMAND...: begins a program on a screen of its own; `hide` ends both.
show() {
  Xvfb ":$1" -screen 0 "$2x24" >/dev/null 2>&1 &
  server=$!
  sleep 0.7
  DISPLAY=":$1" setsid "${@:3}" >/dev/null 2>&1 &
  program=$!
}
hide() {
  kill -KILL -- "-$program" 2>/dev/null || true # some games do not heed anything less
  kill "$server" 2>/dev/null || true
  wait "$program" "$server" 2>/dev/null || true
}
# grab DISPLAY SIZE NAME FILTER [LEAST BYTES]: three seconds of what the screen shows.
grab() {
  local file="$out/$3.mkv"
  "${ffmpeg[@]}" -f x11grab -framerate 30 -draw_mouse 0 -video_size "$2" -t "$((secs + 1))" -i ":$1" \
    -vf "$4" "${encode[@]}" "$file.part.mkv" && finish "$file" "${@:5}" || true
}
# record DISPLAY NAME FILTER COMMAND...: three seconds of what a program shows.
record() {
  local size=${sizes[$(pick "$2" ${#sizes[@]})]}
  [ -e "$out/$2.mkv" ] && return
  show "$1" "$size" "${@:4}"
  sleep 3.5
  grab "$1" "$size" "$2" "$3"
  hide
}
# browse DISPLAY NUMBER: a page of scripts/sources, with pictures.
browse() {
  local name=page-$2 home size page_sizes=(854x480 1280x720 640x480 960x540 480x854 1024x768)
  [ -e "$out/$name.mkv" ] && return
  size=${page_sizes[$(pick "$name" ${#page_sizes[@]})]}
  home=$(mktemp -d)
  local shown="" i
  for i in 1 2 3 4; do shown+="${shown:+,}file://${page_pictures[$(pick "$name picture $i" ${#page_pictures[@]})]}"; done
  [ "$(pick "$name pictures" 3)" -gt 0 ] || shown=""
  show "$1" "$size" chromium --no-sandbox --disable-gpu --no-first-run --user-data-dir="$home" --allow-file-access-from-files \
    --window-position=0,0 --window-size="${size/x/,}" --kiosk "file://$PWD/scripts/sources/page.html?$2&$shown"
  sleep 5
  grab "$1" "$size" "$name" null 40000
  hide
  sleep 0.3
  rm -rf "$home"
}
# play DISPLAY GAME: how it begins, and what comes of pressing keys.
play() {
  local name=${2%%:*} size=640x480 keys=(Return space Up Down Left Right Return Right z x Up Left 1 Right)
  [ -e "$out/.game-$name" ] && return
  # A home of their own and no sound. The program and its arguments are several words.
  # shellcheck disable=SC2086
  show "$1" "$size" env HOME="$scratch" SDL_AUDIODRIVER=dummy /usr/games/${2#*:}
  sleep 6
  grab "$1" "$size" "game-$name-0" "$smooth"
  (for i in $(seq 0 200); do
    DISPLAY=":$1" xdotool key --delay 60 "${keys[$((i % ${#keys[@]}))]}" mousemove $((i * 97 % 640)) $((i * 61 % 480)) click 1
  done) >/dev/null 2>&1 &
  local player=$!
  sleep 4
  grab "$1" "$size" "game-$name-1" "$smooth"
  sleep 3
  grab "$1" "$size" "game-$name-2" "$smooth"
  kill "$player" 2>/dev/null || true
  wait "$player" 2>/dev/null || true
  hide
  touch "$out/.game-$name"
}
# A slow machine shows a picture twice: the second is left out, since a source must not stutter.
smooth="mpdecimate=hi=1:lo=1:frac=0,setpts=N/30/TB"
# Every second program, page and game, on the display $1; $2 is 0 or 1.
record_share() {
  local name number
  for number in $(seq "$2" 2 89); do browse "$1" "$number"; done
  for ((number = $2; number < ${#games[@]}; number += 2)); do play "$1" "${games[$number]}"; done
  number=0
  for name in $(hacks); do
    if [ $((number++ % 2)) -eq "$2" ]; then record "$1" "saver-$name" "$smooth" "/usr/libexec/xscreensaver/$name" -root; fi
  done
  local colours=("black white" "white black" "#fdf6e3 #586e75" "#002b36 #93a1a1" "#1e1e2e #cdd6f4")
  local texts=(/usr/share/doc/*/copyright)
  for number in 0 1 2 3 4 5 6 7; do
    [ $((number % 2)) -eq "$2" ] || continue
    local ground=${colours[$((number % 5))]% *} ink=${colours[$((number % 5))]#* }
    local text=${texts[$(pick "text-$number" ${#texts[@]})]}
    record "$1" "terminal-$number" null xterm -geometry 200x80+0+0 -fa "DejaVu Sans Mono" -fs $((7 + number)) \
      -bg "$ground" -fg "$ink" -e sh -c "while :; do while read -r line; do echo \"\$line\"; sleep 0.0$((3 + number)); done <'$text'; done"
  done
}

# One picture of each wallpaper, the largest.
photographs() {
  dpkg -L gnome-backgrounds mate-backgrounds plasma-workspace-wallpapers | grep -E '\.(jpg|png|webp)$' |
    xargs stat -L -c '%s %n' | awk '$1 > 60000 {
      key = $2; sub(/\/contents\/.*/, "", key); sub(/_[0-9]+x[0-9]+\..*/, "", key); sub(/\.[a-z]+$/, "", key)
      if ($1 > size[key]) { size[key] = $1; name[key] = $2 }
    } END { for (key in name) print name[key] }' | sort
}
cliparts() { dpkg -L openclipart-png | grep '\.png$' | grep -vE 'symbols|shapes/|logos|buttons' | sort; }

# pan NAME PICTURE: the camera moves over a photograph, with or without a drawing that moves by itself.
pan() {
  local file="$out/$1.mkv" picture=$2 size=${sizes[$(pick "$1 size" ${#sizes[@]})]}
  [ -e "$file" ] && return
  local w=${size%x*} h=${size#*x} near=$((10 + $(pick "$1 near" 22)))
  local dx=$(($(pick "$1 dx" 7) - 3)) dy=$(($(pick "$1 dy" 5) - 2))
  # The picture at twice the size of the view and more, so that a pixel's step is half a pixel in the view.
  local view="scale=$((w * near / 4)):$((h * near / 4)):force_original_aspect_ratio=increase:flags=lanczos,setsar=1"
  view+=",loop=loop=-1:size=1,setpts=N/30/TB,fps=30"
  view+=",crop=$((2 * w)):$((2 * h)):'clip((iw-ow)/2+$dx*2*(n-45),0,iw-ow)':'clip((ih-oh)/2+$dy*2*(n-45),0,ih-oh)'"
  view+=",scale=$w:$h:flags=area,format=yuv420p"
  "${ffmpeg[@]}" -i "$picture" -vf "$view" "${encode[@]}" "$file.part.mkv" </dev/null && finish "$file" || true
}
# drawing NAME: flat drawings that glide and turn before a plain or shaded ground.
drawing() {
  local file="$out/$1.mkv" size=${sizes[$(pick "$1 size" ${#sizes[@]})]}
  [ -e "$file" ] && return
  local w=${size%x*} h=${size#*x} count=$((2 + $(pick "$1 count" 4))) inputs=() graph="" last=ground i
  local colour
  colour=$(printf '0x%06x' "$(pick "$1 colour" 16777216)")
  if [ "$(pick "$1 ground" 2)" -eq 0 ]; then
    inputs=(-f lavfi -i "color=$colour:size=$size:rate=30:duration=$secs")
  else
    inputs=(-f lavfi -i "gradients=size=$size:rate=30:duration=$secs:seed=$(pick "$1 seed" 9999):speed=0.002")
  fi
  graph="[0:v]format=rgba[ground]"
  for ((i = 1; i <= count; i++)); do
    local art=${arts[$(pick "$1 art $i" ${#arts[@]})]}
    local side=$((h / 4 + $(pick "$1 side $i" $((h / 2)))))
    inputs+=(-loop 1 -framerate 30 -t "$secs" -i "$art")
    local x=$(pick "$1 x $i" "$w") y=$(pick "$1 y $i" "$h")
    local vx=$(($(pick "$1 vx $i" 240) - 120)) vy=$(($(pick "$1 vy $i" 160) - 80)) turn=$(($(pick "$1 turn $i" 5) - 2))
    graph+=";[$i:v]format=rgba,scale=$side:$side:force_original_aspect_ratio=decrease:flags=lanczos"
    [ "$turn" -eq 0 ] || graph+=",rotate=$turn*t/2:c=none:ow='hypot(iw,ih)':oh=ow"
    graph+="[art$i];[$last][art$i]overlay=x=$x-w/2+$vx*(t-1.5):y=$y-h/2+$vy*(t-1.5)+12*sin(4*t+$i):eval=frame[step$i]"
    last=step$i
  done
  "${ffmpeg[@]}" "${inputs[@]}" -filter_complex "$graph;[$last]format=yuv420p[shown]" -map '[shown]' \
    "${encode[@]}" "$file.part.mkv" </dev/null && finish "$file" || true
}

rm -f "$out"/*.part.mkv
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mapfile -t pictures < <(photographs)
mapfile -t page_pictures < <(printf '%s\n' "${pictures[@]}" | grep -E '\.(jpg|png)$')
record_share 91 0 &
record_share 92 1 &
wait
for picture in "${pictures[@]}"; do
  name=${picture#/usr/share/}
  name=${name%/contents/*}
  name=$(basename "${name%.*}" | tr -c 'A-Za-z0-9\n' -)
  pan "photo-$name-0" "$picture"
  pan "photo-$name-1" "$picture"
done
mapfile -t arts < <(cliparts)
for number in $(seq -w 0 59); do drawing "drawing-$number"; done

{
  echo file,quality
  for file in "$out"/*.mkv; do echo "$(basename "$file"),pristine"; done
} >"$out.csv"
echo "$(($(wc -l <"$out.csv") - 1)) clips in $out" >&2
