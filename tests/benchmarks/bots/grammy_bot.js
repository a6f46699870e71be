// grammY, as it comes (`plain`) or with its runner, which handles updates at the same time (`runner`).

const http = require("node:http");
const { Bot, webhookCallback } = require("grammy");

const [work, kind] = process.argv.slice(2);
const updates = Number(process.env.UPDATES);
const warm = Math.max(1, Math.floor(updates / 2));
let seen = 0;
let began = null;

function count() {
  seen += 1;
  if (seen === warm) {
    began = process.cpuUsage();
  } else if (seen === updates) {
    const { user, system } = process.cpuUsage(began);
    const peak = process.resourceUsage().maxRSS;
    console.log(JSON.stringify({ microseconds: (user + system) / (updates - warm), peak, seen }));
  }
}

const bot = new Bot(process.env.BOT_TOKEN, { client: { apiRoot: process.env.BOT_API_ROOT } });
bot.on("message:text", work === "sending" ? async (ctx) => { await ctx.reply("x"); count(); } : async () => count());

if (work === "webhook") {
  const answer = webhookCallback(bot, "http", { secretToken: process.env.SECRET });
  http.createServer(answer).listen(Number(process.env.PORT), "127.0.0.1");
} else if (kind === "runner") {
  require("@grammyjs/runner").run(bot);
} else {
  bot.start();
}
