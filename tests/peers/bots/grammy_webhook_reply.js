// An echo bot of grammY, by webhook: the first call for an update is the response to its request.

const http = require("node:http");
const { Bot, InlineKeyboard, webhookCallback } = require("grammy");

const port = Number(process.env.PORT);
const secretToken = "secret-of-grammy";
const bot = new Bot(process.env.BOT_TOKEN, {
  client: { apiRoot: process.env.BOT_API_ROOT, canUseWebhookReply: () => true },
});

bot.command("choose", async (ctx) => {
  const keyboard = new InlineKeyboard().text("tea", "tea").text("coffee", "coffee");
  await ctx.reply("Which one?", { reply_markup: keyboard });
});

bot.on("callback_query:data", async (ctx) => {
  await ctx.answerCallbackQuery("Noted");
  await ctx.editMessageText(`You chose ${ctx.callbackQuery.data}`);
});

bot.on("message:text", async (ctx) => {
  await ctx.reply(ctx.message.text);
});

const server = http.createServer(webhookCallback(bot, "http", { secretToken }));
server.listen(port, "127.0.0.1", async () => {
  await bot.api.setWebhook(`http://127.0.0.1:${port}/`, { secret_token: secretToken });
});
process.once("SIGTERM", () => server.close());
